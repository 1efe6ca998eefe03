import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.errors import CheckpointError, CodistillError, ConfigError
from codistill.files.config import (
    CHANGEABLE,
    changed_fields,
    config_hash,
    dump_yaml,
    load_yaml,
    save_yaml,
)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    blocks: tuple[int, ...] = (2, 5)


@dataclass(frozen=True, kw_only=True)
class Mlp:
    hidden: int | None = None


@dataclass(frozen=True, kw_only=True)
class Teacher:
    name: str
    kinds: tuple[Literal["cls", "patch"], ...] = ("patch",)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"weight must not be negative; got {self.weight}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    steps: int
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.99)
    sharing: Literal["none", "full"] = "full"
    dropout: float | None = None
    flip: bool = True
    note: str = ""
    folder: Path | None = field(default=None, metadata=CHANGEABLE)
    weights: dict[str, float] = field(default_factory=dict)
    teachers: tuple[Teacher, ...] = ()
    projector: Ladder | Mlp = field(default_factory=Mlp)
    sizes: Sequence[int] = (224,)
    names: list[str] = field(default_factory=list, metadata=CHANGEABLE)


FULL = Recipe(
    steps=10,
    lr=1e-15,
    betas=(0.1, 1 / 3),
    dropout=0.5,
    note="no",
    folder=Path("a b/ü"),
    weights={"3d": 0.5, "on": 2.0},
    teachers=(Teacher(name="12:30", kinds=("cls", "patch")), Teacher(name="3e-4", weight=0.0)),
    projector=Ladder(blocks=()),
    sizes=(224, 336),
    names=["", "null", "2024-01-01", "0x1f"],
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("config", [FULL, Recipe(steps=1)])
def test_round_trip_is_exact(tmp_path, config):
    save_yaml(config, tmp_path / "c.yaml")
    assert load_yaml(Recipe, tmp_path / "c.yaml") == config


def test_other_yaml_readers_see_the_same_values(tmp_path):
    plain = yaml.safe_load(dump_yaml(FULL))
    assert plain["note"] == "no" and plain["names"] == ["", "null", "2024-01-01", "0x1f"]
    assert plain["lr"] == 1e-15 and plain["weights"] == {"3d": 0.5, "on": 2.0}
    assert plain["projector"] == {"class": "Ladder", "blocks": []}


@given(
    st.builds(
        Recipe,
        steps=st.integers(),
        lr=st.floats(allow_nan=False),
        note=st.text(),
        weights=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        names=st.lists(st.text()),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_text_and_number_survives(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    save_yaml(config, path)
    assert load_yaml(Recipe, path) == config


def test_numbers_as_people_write_them(tmp_path):
    config = load_yaml(
        Recipe, written(tmp_path, "steps: 010\nlr: 3e-4\nbetas: [1, .5]\nnote: no\ndropout: -1E+2\n")
    )
    assert config == Recipe(steps=10, lr=3e-4, betas=(1.0, 0.5), note="no", dropout=-100.0)
    assert isinstance(config.betas[0], float)
    assert math.isinf(load_yaml(Recipe, written(tmp_path, "steps: 1\nlr: -.inf")).lr)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps: 1\nlrr: 1", r"Unknown option 'lrr'\. Did you mean 'lr'"),
        (
            "steps: 1\nteachers: [{name: a, wieght: 1}]",
            r"'teachers\[0\]\.wieght'\. Did you mean 'teachers\[0\]\.weight'",
        ),
        ("steps: 1.5", r"steps is 1\.5 \(float\); expected a whole number"),
        ("steps: true", "steps is True"),
        ("steps: 1\nlr: fast", "lr is 'fast'.*expected a number"),
        ("steps: 1\nnote: 3", "note is 3 .*expected text"),
        ("steps: 1\nflip: 1", "flip is 1 .*true or false"),
        ("steps: 1\nbetas: [1]", "betas is .*a list of 2"),
        ("steps: 1\nbetas: [1, x]", r"betas\[1\] is 'x'"),
        ("steps: 1\nsharing: ful", r"sharing: .*Did you mean 'full'"),
        ("steps: 1\nweights: {a: b}", r"weights\.a is 'b'"),
        ("steps: 1\nteachers: [{weight: 1}]", r"teachers\[0\]\.name is missing"),
        ("steps: 1\nteachers: [{name: a, weight: -1}]", r"teachers\[0\]: weight must not be negative"),
        ("steps: 1\nprojector: {class: Mpl}", r"Unknown projector\.class 'Mpl'\. Did you mean 'Mlp'"),
        ("steps: 1\nprojector: {class: Mlp, hidden: x}", r"projector\.hidden is 'x'"),
        ("steps: 1\nsteps: 2", "the key 'steps' twice"),
        ("", "steps is missing"),
        ("- 1", "expected keys of Recipe"),
        ("steps: [", "is not a config in YAML"),
        ("steps: !!python/object/apply:os.system [ls]", "is not a config in YAML"),
        ("steps: !!bool maybe", "steps is False"),
        ("steps: " + "9" * 5000, "is not a config in YAML"),
        ("steps: " + "[" * 1000, "is not a config in YAML"),
        ("&a [*a]", "is not a config in YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, text, expected):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=expected) as error:
        load_yaml(Recipe, path)
    assert str(path) in str(error.value)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="abst:{}[]!&*-?|>#%@`\"'\n 019.eps", max_size=80).map(str.encode),
    )
)
@settings(max_examples=250, deadline=None)
def test_no_malformed_file_escapes_as_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_bytes(data)
    with pytest.raises(CodistillError, match=r"c\.yaml"):
        load_yaml(Recipe, path)


def test_missing_file_and_unwritable_place(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        load_yaml(Recipe, tmp_path / "gone.yaml")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_yaml(FULL, tmp_path / "file" / "c.yaml")


def test_only_a_regular_file_of_some_size_is_a_config(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_yaml(Recipe, path)
    with pytest.raises(ConfigError, match="characters long"):
        load_yaml(Recipe, written(tmp_path, "steps: 1\n#" + "x" * (1 << 20)))


def test_a_wrong_value_is_shown_in_a_few_words(tmp_path):
    """However much a few aliases spell out, the text of the error is short."""
    nine = ", ".join
    bomb = f"lr: [&a [{nine('x' * 9)}], &b [{nine(['*a'] * 9)}], &c [{nine(['*b'] * 9)}], &d [{nine(['*c'] * 9)}]]"
    with pytest.raises(ConfigError, match="expected a number") as error:
        load_yaml(Recipe, written(tmp_path, "steps: 1\n" + bomb))
    assert len(str(error.value)) < 300 + len(str(tmp_path))
    with pytest.raises(ConfigError, match="Unknown option") as error:
        load_yaml(Recipe, written(tmp_path, "steps: 1\n" + "k" * 900 + ": 1"))
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_changed_fields_leave_out_what_may_change():
    old, new = Recipe(steps=1, names=["a"]), Recipe(steps=1, names=["b"], folder=Path("x"))
    assert changed_fields(old, new) == []
    assert config_hash(old) == config_hash(new)
    new = Recipe(steps=2, betas=(0.9, 0.5), projector=Ladder())
    assert changed_fields(old, new) == [
        "steps: 1 → 2",
        "betas[1]: 0.99 → 0.5",
        "projector.class: Mlp → Ladder",
        "projector.hidden: None → (absent)",
        "projector.blocks[0]: (absent) → 2",
        "projector.blocks[1]: (absent) → 5",
    ]
    assert config_hash(old) != config_hash(new)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    save_yaml(FULL, path)
    before = path.read_bytes()

    def full_disk(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_yaml(Recipe(steps=5), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c.yaml"]
