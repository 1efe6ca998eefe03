"""RECIPE as users type it, to a `Recipe`: a known name, a saved YAML file, or `file.py:NAME`."""

from pathlib import Path

from codistill.errors import ConfigError, unknown_name
from codistill.files.config import load_yaml, read_yaml
from codistill.files.own_code import is_own, own_object
from codistill.files.plain import from_plain
from codistill.recipes import published, small, tables, world
from codistill.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*small.RECIPES, *world.RECIPES, *published.RECIPES, *tables.RECIPES)
}
"""Every recipe that ships with codistill."""


def find_recipe(what: str) -> Recipe:
    """A recipe by what the user typed.

    Args:
        what: a known name (`-` and `_` are alike), the path of a YAML file (a run's config.yaml), or
            `path/to/file.py:NAME` of a `Recipe` in the user's own file, which is imported.

    Raises:
        ConfigError: if there is no such recipe; the text lists the known ones.
    """
    name = what.replace("_", "-")
    if name in RECIPES:
        return RECIPES[name]
    if what.endswith((".yaml", ".yml")):
        return _from_yaml(Path(what))
    if is_own(what):
        return own_object(what, "recipe", lambda found: isinstance(found, Recipe))
    raise ConfigError(
        f"{unknown_name('recipe', what, RECIPES)} A path of a .yaml file or file.py:NAME will do as well."
    )


def _from_yaml(path: Path) -> Recipe:
    """A saved recipe; one with `epochs` need not say how many steps that makes."""
    plain = read_yaml(path)
    engine = plain.get("engine") if isinstance(plain, dict) else None
    if not isinstance(engine, dict) or plain.get("epochs") is None or "total_steps" in engine:
        return load_yaml(Recipe, path)
    try:
        return from_plain(Recipe, {**plain, "engine": {**engine, "total_steps": 1}}).with_length()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
