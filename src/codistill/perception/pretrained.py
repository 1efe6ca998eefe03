"""Perceptions that ship, by name: NAME/perception.yaml in one of the folders of models."""

import os
from pathlib import Path

from codistill.errors import ConfigError, unknown_name

MODELS = "CODISTILL_MODELS"
"""Environment variable: a folder of models of your own."""

FILE = "perception.yaml"


def model_folders() -> list[Path]:
    """Where models lie: `$CODISTILL_MODELS`, `models/` of a checkout, `models/` of the installed package."""
    package = Path(__file__).parents[1]
    own = os.environ.get(MODELS)
    return [*([Path(own).expanduser()] if own else []), package.parents[1] / "models", package / "models"]


def pretrained_perceptions() -> dict[str, Path]:
    """The config of each, by its name."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for config in sorted(folder.glob(f"*/{FILE}")):
            found.setdefault(config.parent.name, config)
    return found


def find_perception(text: str) -> Path:
    """The config that a user named: a YAML file, or the name of one that ships.

    Raises:
        ConfigError: if there is neither.
    """
    path = Path(text).expanduser()
    return path if path.suffix.lower() in (".yaml", ".yml") or path.is_file() else find_pretrained(text)


def find_pretrained(name: str) -> Path:
    """The config of a perception that ships.

    Raises:
        ConfigError: for an unknown name; the text lists what there is.
    """
    known = pretrained_perceptions()
    if name not in known:
        raise ConfigError(
            f"{unknown_name('perception', name, known)} A YAML file of your own: Perception.from_config(FILE)."
        )
    return known[name]
