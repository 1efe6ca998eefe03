"""What can be said of a command line that names a recipe before anything heavy is imported.

A recipe is built of the classes of the whole library, which take seconds to import. A slip in its name, or a missing
`--out`, is told at once; everything else is left to the command.
"""

import importlib
from pathlib import Path

from codistill.errors import ConfigError, unknown_name
from codistill.recipes.fields import check_flags
from codistill.recipes.names import RECIPE_NAMES

_SHOWS = ("--list", "--print-config", "--help-fields", "--help", "-h")
_OWN = ("--out", "--teacher", "--source", "--held-out", "--device", *_SHOWS)
"""Options of `codistill distill` that are no fields of a recipe."""


def distill(argv: list[str]) -> int:
    """`codistill distill`."""
    named = bool(argv) and not argv[0].startswith("-")
    if named:
        check_recipe_name(argv[0])
    if not named and not argv:
        raise ConfigError("which recipe? `codistill distill --list` shows the known ones")
    asked = {text.split("=", 1)[0] for text in argv}
    if named and "--out" not in asked and not asked.intersection(_SHOWS):
        raise ConfigError("where to? add --out RUN, the folder of the run")
    if named and not asked.intersection(("--help-fields", "--help", "-h")):
        check_flags([text for text in argv if text.startswith("--") and text.split("=", 1)[0] not in _OWN])
    return _run("codistill.commands.distill", argv)


def plan(argv: list[str]) -> int:
    """`codistill plan`."""
    if argv and not argv[0].startswith("-"):
        check_recipe_name(argv[0])
    return _run("codistill.commands.plan", argv)


def check_recipe_name(what: str) -> None:
    """Refuse what cannot be a recipe: no known name, no file.

    Raises:
        ConfigError: with the nearest known names, or the file that is not there.
    """
    if what.endswith((".yaml", ".yml")):
        if not Path(what).exists():
            raise ConfigError(f"{what} cannot be read: no such file. Give the path of a YAML file.")
    elif ".py:" in what:
        file = what.rpartition(":")[0]
        if not Path(file).is_file():
            raise ConfigError(f"{file}: no such file")
    elif what.replace("_", "-") not in RECIPE_NAMES:
        raise ConfigError(
            f"{unknown_name('recipe', what, RECIPE_NAMES)} A path of a .yaml file or file.py:NAME will do as well."
        )


def _run(module: str, argv: list[str]) -> int:
    return importlib.import_module(module).main(argv)
