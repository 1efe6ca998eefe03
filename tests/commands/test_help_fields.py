"""`distill --help-fields` describes every field, also those that share an entry of a docstring."""

from dataclasses import dataclass, field

import forked
from codistill.commands.help_fields import separate_entries


def test_entries_are_separated_in_nested_classes() -> None:
    @dataclass(frozen=True)
    class Inner:
        """Inside.

        Attributes:
            low, high: bounds
                of it.
        """

        low: int = 0
        high: int = 1

    @dataclass(frozen=True)
    class Outer:
        """Outside.

        Attributes:
            name: of it.
            parts: inner ones.
        """

        name: str = ""
        parts: tuple[Inner, ...] = field(default_factory=tuple)

    Outer.__annotations__["parts"] = tuple[Inner, ...]
    separate_entries(Outer)
    assert Outer.__doc__ == "Outside.\n\nAttributes:\n    name: of it.\n    parts: inner ones."
    assert Inner.__doc__ == "Inside.\n\nAttributes:\n    low: bounds of it.\n    high: bounds of it."


def test_every_field_of_a_recipe_is_described() -> None:
    """In a process of its own: tyro keeps the docstrings that it has read."""
    command = ["-m", "codistill", "distill", "debug", "--help-fields"]
    code, said, errors = forked.run(command, environment={"COLUMNS": "80"})
    assert code == 0, errors
    lines = [line.strip("│ \n") for line in said.splitlines()]
    flags = [at for at, line in enumerate(lines) if line.startswith("--")]
    assert len(flags) > 100
    assert not [lines[at] for at in flags if lines[at + 1].startswith("(default")]
