"""What can be said of a recipe's name and fields before the recipe is built.

A recipe is built of the classes of the whole library, which take seconds to import. A slip in its name or in an option
is told at once; everything else is left to the command.
"""

from collections.abc import Sequence
from pathlib import Path

from codistill.errors import ConfigError, unknown_name
from codistill.files.own_code import is_own
from codistill.recipes.fields import check_flags
from codistill.recipes.names import RECIPE_NAMES


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse options that are neither a command's own nor fields of a recipe.

    Args:
        overrides: what the command's parser left.

    Raises:
        ConfigError: for the first, with the nearest known ones.
    """
    check_flags([text for text in overrides if text.startswith("--")])


def check_recipe_name(what: str) -> None:
    """Refuse what cannot be a recipe: no known name, no file.

    Raises:
        ConfigError: with the nearest known names, or the file that is not there.
    """
    if what.endswith((".yaml", ".yml")):
        if not Path(what).exists():
            raise ConfigError(f"{what} cannot be read: no such file. Give the path of a YAML file.")
    elif is_own(what):
        file = what.rpartition(":")[0]
        if not Path(file).is_file():
            raise ConfigError(f"{file}: no such file")
    elif what.replace("_", "-") not in RECIPE_NAMES:
        raise ConfigError(
            f"{unknown_name('recipe', what, RECIPE_NAMES)} A path of a .yaml file or file.py:NAME will do as well."
        )
