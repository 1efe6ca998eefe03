"""Change fields of a recipe by their dotted paths: a recipe and `{path: value}` in, the changed recipe out."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from codistill.errors import ConfigError, unknown_name
from codistill.files.plain import flat, from_plain, to_plain
from codistill.recipes.idle import check_length, check_recipe
from codistill.recipes.recipe import Recipe

_WHOLE = ("distill.loss.weights", "distill.loss.summary")
"""Mappings that are replaced as a whole, as on the command line: entries that are not given are removed."""


def with_fields(recipe: Recipe, fields: Mapping[str, Any], over: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe with some fields set to plain values. List items go by number (`teachers.1.encoder`).

    Args:
        recipe: to start from.
        fields: dotted path → value.
        over: earlier overrides that `fields` extends or changes, if any. A field that only sets one of these back to
            the recipe's own value is not refused for having no effect.

    Raises:
        ConfigError: for an unknown field, a value of the wrong type, or a field without effect.
    """
    check_length(recipe)
    plain = to_plain(without_epochs(recipe, fields))
    before = flat(plain)
    for whole in _WHOLE:
        if any(path.startswith(f"{whole}.") for path in fields):
            _put(plain, whole, {})
    for path, value in fields.items():
        _put(plain, path, deepcopy(value))  # a later field may change a part of it
    if "epochs" in fields and "engine.total_steps" not in fields:
        plain["engine"]["total_steps"] = 1  # follows from epochs, below
    changed = from_plain(Recipe, plain)
    changed = changed if "engine.total_steps" in fields else changed.with_length()
    # Setting a field back to the recipe's own value (world: null) is not refused as an option without effect.
    kept = [path for path, value in fields.items() if before.get(path, value) == value]
    check_recipe(changed, [path for path in kept if (over or {}).get(path, fields[path]) == fields[path]])
    return changed


def settled(recipe: Recipe, typed: Collection[str]) -> Recipe:
    """Return the recipe with the length that its fields determine, after checking it.

    Args:
        recipe: with all its overrides.
        typed: dotted paths of the overrides.

    Raises:
        ConfigError: for a field without effect.
    """
    recipe = recipe if "engine.total_steps" in typed else recipe.with_length()
    check_recipe(recipe, typed)
    return recipe


def without_epochs(recipe: Recipe, typed: Collection[str]) -> Recipe:
    """Remove a recipe's length in epochs if the overrides give steps instead."""
    steps = "engine.total_steps" in typed and "epochs" not in typed
    return replace(recipe, epochs=None) if steps else recipe


def _put(plain: Any, path: str, value: Any) -> None:
    """Set a field. An unknown last name is left for `from_plain` to refuse, which knows the other names."""
    place = plain
    *parents, last = path.split(".")
    for depth, name in enumerate(parents):
        place = place[_key(place, name, parents[:depth])]
    if isinstance(place, list):
        place[_key(place, last, parents)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ConfigError(f"unknown option {path!r}: {'.'.join(parents)} has no fields")


def _key(place: Any, name: str, above: list[str]) -> Any:
    """Return the key of a dict, or the number of a list's item; ConfigError if there is none."""
    if isinstance(place, dict) and name in place:
        return name
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        return int(name)
    names = range(len(place)) if isinstance(place, list) else place if isinstance(place, dict) else ()
    known = (".".join((*above, str(one))) for one in names)
    raise ConfigError(unknown_name("option", ".".join((*above, name)), known))
