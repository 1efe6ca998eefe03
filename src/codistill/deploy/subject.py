"""Find the network to export from its name: an encoder, a student's projector, or a fitted head."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from codistill.deploy.classifier import ExportedClassifier
from codistill.deploy.config import ExportConfig
from codistill.deploy.dense import ExportedDenseHead
from codistill.deploy.encoder import ExportedEncoder
from codistill.deploy.exportable import Exportable
from codistill.deploy.people import ExportedPeople
from codistill.deploy.two_view import ExportedTwoView
from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.programs.record import ProgramRecord
from codistill.tasks.shared.head_files import is_head, read_record
from codistill.weights.shipped import find_shipped, shipped_head, shipped_models

HEADS: dict[str, Callable[[Path, ExportConfig], Exportable]] = {
    "two-view": ExportedTwoView,
    "people": ExportedPeople,
    "linear": partial(ExportedClassifier, "linear"),
    "knn": partial(ExportedClassifier, "knn"),
}
"""Tasks whose heads have their own class for export; the answers of all others must be maps (`dense.py`)."""

ENCODERS = ("encoder", "projector")
"""Kinds of an export that are not the task of a head."""

RELEASED = ("two-view", "people")
"""Tasks whose released files hold encoder and head together."""


def find_exportable(what: str, config: ExportConfig, task: str | None = None) -> Exportable:
    """The network to export, in evaluation mode.

    Args:
        what: an encoder, as for `load_encoder`, the folder of a fitted head, or, with a task, a shipped model.
        config: options of the export.
        task: the task whose head of a shipped model is exported; or `two-view` or `people`, for a released file of
            encoder and head together (MASt3R, DUNE-MASt3R, Multi-HMR).

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: for a task whose heads are not exported, or options that do not apply.
    """
    if not what.strip():
        raise ConfigError("nothing to export was named: give an encoder, or the folder of a fitted head")
    path = Path(what).expanduser()
    model = what.partition("/")[0]
    if model != what and not path.exists() and find_shipped(model) is not None:
        raise ConfigError(f"{what}: heads of {model} go by their task: {model} --task {path.name}")
    if task is None:
        return (_head(path, config) if is_head(path) else ExportedEncoder(what, config)).eval()
    if not path.exists() and find_shipped(what) is not None:
        network = _head(shipped_head(task, what), config)
        network.about = replace(network.about, source=what)  # the folder is local
        return network.eval()
    if task not in RELEASED:
        raise ConfigError(
            f"--task {task} is for models that ship ({', '.join(shipped_models())}), and --task "
            f"{' or '.join(RELEASED)} for released files of encoder and head together; got {what}. The folder of a "
            "fitted head says its task itself"
        )
    if path.is_dir():
        raise ConfigError(f"--task would have no effect: {path} is a folder, which says its task itself")
    return HEADS[task](path, config).eval()


def original_of(record: ProgramRecord) -> Exportable:
    """The network from which a file was exported, found by its name in the record.

    Raises:
        CodistillError: if it no longer exists.
    """
    config = from_plain(ExportConfig, record.choices, record.name)
    path = Path(record.source).expanduser()
    of_a_model = record.kind not in ENCODERS and not path.exists() and find_shipped(record.source) is not None
    released = record.kind in RELEASED and path.is_file()
    return find_exportable(record.source, config, record.kind if of_a_model or released else None)


def _head(folder: Path, config: ExportConfig) -> Exportable:
    """The export of a fitted head; its folder says the task."""
    task = read_record(folder).task
    return HEADS.get(task, partial(ExportedDenseHead, task))(folder, config)
