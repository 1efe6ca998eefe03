"""Models that ship with the library: a name in, a folder out.

    NAME/config.json, encoder.safetensors, projectors.safetensors    the encoder, as an export
    NAME/heads/TASK/head.json, head.safetensors                      fitted heads on it
    NAME/README.md, card.json                                        the model card, and what `verify` recomputes

They are in `codistill/models`, both in a checkout (as `models/` at its top) and in an installed package. The variable
`CODISTILL_MODELS` names further folders of such models (several are separated as in PATH), which are searched first.
"""

import difflib
import os
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError, ConfigError, unknown_name
from codistill.files.json_files import read_json

FOLDERS = "CODISTILL_MODELS"
CARD = "card.json"
HEADS = "heads"


def model_folders() -> list[Path]:
    """Folders that hold models, in the order in which they are searched."""
    own = [Path(part).expanduser() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    return [*own, Path(__file__).parents[1] / "models"]


def shipped_models() -> dict[str, Path]:
    """The folder of every model, by name."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for card in sorted(folder.glob(f"*/{CARD}")):
            found.setdefault(card.parent.name, card.parent)
    return found


def find_shipped(name: str) -> Path | None:
    """The folder of a shipped model; None for another name."""
    return shipped_models().get(name)


def read_card(model: Path) -> dict[str, Any]:
    """Read a model's card.json.

    Raises:
        CheckpointError: if the folder has none.
    """
    if not (model / CARD).is_file():
        raise CheckpointError(f"{model}: is no model of codistill bundle: it has no {CARD}")
    return read_json(model / CARD)


def shipped_head(task: str, name: str | None = None) -> Path:
    """The folder of a model's head for a task.

    Args:
        task: as in `codistill fit TASK`.
        name: name of the model; None: the first model that has such a head.

    Raises:
        CheckpointError: if there is none; the text lists those that exist.
    """
    models = shipped_models()
    if name is not None and name not in models:
        raise CheckpointError(unknown_name("model", name, models))
    for folder in [models[name]] if name is not None else models.values():
        head = folder / HEADS / task
        if head.is_dir():
            return head
    others = [known for known, folder in models.items() if (folder / HEADS / task).is_dir()]
    tasks = sorted({head.name for folder in models.values() for head in (folder / HEADS).glob("*")})
    there = (
        f"models with one: {', '.join(others)}"
        if others
        else f"there are heads for: {', '.join(tasks) or 'nothing'}"
    )
    raise CheckpointError(
        f"no model that ships has a head for {task}{f' under the name {name}' if name else ''}; {there}. Fit one: "
        f"codistill fit {task} …"
    )


def named_head(given: Path, task: str) -> Path:
    """Path of a head that is given as a path, or as the name of a shipped model, which means its head for the task.

    Args:
        given: a path, or the name of a model. A path is returned as it is.
        task: as in `codistill fit TASK`.

    Raises:
        CheckpointError: if the model has no such head, or if the path does not exist and resembles a model's name.
    """
    if given.exists():
        return given
    models = shipped_models()
    if str(given) in models:
        return shipped_head(task, str(given))
    if difflib.get_close_matches(str(given), models, n=1, cutoff=0.8):
        raise CheckpointError(f"{given}: no such file or folder. {unknown_name('model', str(given), models)}")
    return given


def given_head(given: Path | None, task: str) -> Path:
    """Path of a head, see `named_head`; for None, the head of the first shipped model that has one for the task.

    Raises:
        CheckpointError: see `named_head`.
        ConfigError: for None, if no model has one.
    """
    if given is not None:
        return named_head(given, task)
    if not any((folder / HEADS / task).is_dir() for folder in shipped_models().values()):
        raise ConfigError(
            f"which head? add --head HEAD of `codistill fit {task}` (or --model FILE): no model that ships has one"
        )
    return shipped_head(task)


def shipped_perception() -> str:
    """Name of the first shipped model with heads: what `see` and `serve` use if no encoder and heads are named.

    Raises:
        ConfigError: if no model has heads.
    """
    for name, folder in shipped_models().items():
        if (folder / HEADS).is_dir():
            return name
    raise ConfigError("which encoder and heads? add --perception YAML: no model that ships has heads")
