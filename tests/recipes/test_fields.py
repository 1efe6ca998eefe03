"""The fields that are read from source are those of the classes, and a slip in one is told without importing them."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from codistill.errors import ConfigError
from codistill.files.plain import field_hints
from codistill.recipes.fields import check_flags, field_paths
from codistill.recipes.recipe import Recipe


def classes(hint: Any) -> list[type]:
    found = [inner for part in get_args(hint) for inner in classes(part)]
    return [hint] if hasattr(hint, "__dataclass_fields__") else found


def walk(cls: type, prefix: str = "") -> Iterator[str]:
    for name, hint in field_hints(cls).items():
        inner = classes(hint)
        yield from (path for one in inner for path in walk(one, f"{prefix}{name}."))
        if not inner:
            yield prefix + name


def test_fields_are_those_of_the_classes() -> None:
    assert field_paths() == set(walk(Recipe))


def test_flags_of_fields_are_known_and_others_are_not() -> None:
    check_flags(["--engine.total-steps=3", "--engine.no-compile", "--teachers.0.image-size", "--image_size"])
    for flag, near in (("--engine.total-stepz", "--engine.total-steps"), ("--imagesize=3", "--image-size")):
        with pytest.raises(ConfigError, match=f"Did you mean .*{near}"):
            check_flags([flag])
