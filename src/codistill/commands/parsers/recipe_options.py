"""Check a recipe's name and fields before the recipe is built.

The classes of recipes take seconds to import. These checks report an error in the name or in an option at once;
everything else is checked by the command.
"""

from collections.abc import Sequence

from codistill.files.dataclass_fields import check_flags, fields_of
from codistill.files.named_config import check_config_name
from codistill.recipes.names import RECIPE_NAMES


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse options that are neither the command's own nor fields of a recipe.

    Args:
        overrides: arguments that the command's parser did not take.

    Raises:
        ConfigError: for the first such option; the text names the nearest known ones.
    """
    flags = [text for text in overrides if text.startswith("--")]
    check_flags(flags, fields_of("codistill.recipes.recipe:Recipe"), "--help-fields lists them all.")


def check_recipe_name(what: str) -> None:
    """Refuse a text that is neither the name of a recipe nor a file.

    Raises:
        ConfigError: if it is neither; the text names the nearest known names, or the missing file.
    """
    check_config_name(what, RECIPE_NAMES)
