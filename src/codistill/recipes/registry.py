"""Find a `Recipe` by a known name, as a saved YAML file, or as `file.py:NAME`."""

from pathlib import Path

from codistill.errors import ConfigError
from codistill.files.config import load_yaml, read_yaml
from codistill.files.named_config import find_config
from codistill.files.plain import from_plain
from codistill.recipes import proxy, published, recent, small, tables, world
from codistill.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *small.RECIPES,
        *world.RECIPES,
        *published.RECIPES,
        *tables.RECIPES,
        *proxy.RECIPES,
        *recent.RECIPES,
    )
}
"""All recipes of codistill, by name."""


def find_recipe(what: str) -> Recipe:
    """Find a recipe by a known name, as a saved YAML file, or as `file.py:NAME`; see `find_config`.

    Raises:
        ConfigError: if there is no such recipe; the text lists the known ones.
    """
    return find_config(what, RECIPES, Recipe, from_yaml=_from_yaml)


def _from_yaml(path: Path) -> Recipe:
    """Load a saved recipe. If it has `epochs`, it need not contain the number of steps."""
    plain = read_yaml(path)
    engine = plain.get("engine") if isinstance(plain, dict) else None
    if not isinstance(engine, dict) or plain.get("epochs") is None or "total_steps" in engine:
        return load_yaml(Recipe, path)
    try:
        return from_plain(Recipe, {**plain, "engine": {**engine, "total_steps": 1}}).with_length()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
