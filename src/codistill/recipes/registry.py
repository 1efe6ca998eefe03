"""RECIPE as users type it, to a `Recipe`: a known name, a saved YAML file, or `file.py:NAME`."""

import importlib.util
from pathlib import Path

from codistill.errors import ConfigError, unknown_name
from codistill.files.config import load_yaml, read_yaml
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
    if ".py:" in what:
        return _from_python(what)
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


def _from_python(what: str) -> Recipe:
    file, _, name = what.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"codistill_user_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if isinstance(found, Recipe):
        return found
    recipes = [key for key, value in vars(module).items() if isinstance(value, Recipe)]
    raise ConfigError(
        f"{path}: {unknown_name('recipe', name, recipes)}" if found is None else f"{what} is no Recipe"
    )
