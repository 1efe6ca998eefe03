"""Find perceptions by name: shipped models (`weights/shipped.py`) with their heads, or with a perception.yaml."""

from pathlib import Path

from codistill.errors import ConfigError, unknown_name
from codistill.perception.config import FILE
from codistill.weights.shipped import model_folders, shipped_models


def pretrained_perceptions() -> dict[str, Path]:
    """Path of each shipped perception by name: its config, or the model's folder if it has none."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for config in sorted(folder.glob(f"*/{FILE}")):
            found.setdefault(config.parent.name, config)
    return {**shipped_models(), **found}


def find_perception(text: str) -> Path:
    """Path of a perception that is given as a YAML file, a model's folder, or the name of a shipped one.

    Raises:
        ConfigError: if there is no such file, folder or name.
    """
    path = Path(text).expanduser()
    return path if path.suffix.lower() in (".yaml", ".yml") or path.exists() else find_pretrained(text)


def find_pretrained(name: str) -> Path:
    """The config or folder of a shipped perception.

    Raises:
        ConfigError: for an unknown name; the text lists the known ones.
    """
    known = pretrained_perceptions()
    if name not in known:
        raise ConfigError(
            f"{unknown_name('perception', name, known)} A YAML file of your own goes by its path: mine.yaml "
            "(Perception.from_config, --perception)."
        )
    return known[name]
