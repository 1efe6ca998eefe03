"""Descriptions of a config's fields, in the form that tyro's `--help` reads.

A docstring may describe several fields in one entry (`a, b: text`); tyro reads one field per entry.
"""

import dataclasses
from inspect import cleandoc
from typing import Any, get_args, get_type_hints

from codistill.files.dataclass_fields import attributes_of


def separate_entries(config: type) -> None:
    """Rewrite the docstrings of a dataclass and of the dataclasses in its fields, with one entry per field.

    For a process that only prints help: `__doc__` of the classes changes.
    """
    waiting: list[Any] = [config]
    seen: set[Any] = set()
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)) or kind in seen:
            continue
        seen.add(kind)
        text = cleandoc(kind.__doc__ or "")
        entries = [f"    {name}: {about}" for name, about in attributes_of(text).items()]
        if entries:
            first = text.partition("Attributes:\n")[0]
            kind.__doc__ = "\n".join((f"{first}Attributes:", *entries))
        waiting += get_type_hints(kind).values()
