"""Checks of a recipe's name and fields before the recipe is built.

A recipe's classes take seconds to import. A mistake in its name or in an option is reported at once; everything else is
left to the command.
"""

from collections.abc import Sequence

from codistill.files.dataclass_fields import check_flags, fields_of
from codistill.files.named_config import check_config_name
from codistill.recipes.names import RECIPE_NAMES


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse options that are neither a command's own nor fields of a recipe.

    Args:
        overrides: arguments that the command's parser did not take.

    Raises:
        ConfigError: for the first, with the nearest known ones.
    """
    flags = [text for text in overrides if text.startswith("--")]
    check_flags(flags, fields_of("codistill.recipes.recipe:Recipe"), "--help-fields lists them all.")


def check_recipe_name(what: str) -> None:
    """Refuse what cannot be a recipe: no known name, no file.

    Raises:
        ConfigError: with the nearest known names, or the missing file.
    """
    check_config_name(what, RECIPE_NAMES)
