"""What is exported, from its name: an encoder, a student's projector, or the folder of a fitted head."""

from collections.abc import Callable
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
from codistill.tasks.shared.head_files import is_head, read_record

HEADS: dict[str, Callable[[Path, ExportConfig], Exportable]] = {
    "two-view": ExportedTwoView,
    "people": ExportedPeople,
    "linear": partial(ExportedClassifier, "linear"),
    "knn": partial(ExportedClassifier, "knn"),
}
"""Tasks whose heads have an export of their own; the others' answers must be maps (`dense.py`)."""

RELEASED = ("two-view", "people")
"""Tasks whose released files hold encoder and head together."""


def find_exportable(what: str, config: ExportConfig, task: str | None = None) -> Exportable:
    """The network to export, in evaluation mode.

    Args:
        what: an encoder, as for `load_encoder`, or the folder of a fitted head.
        config: of the export.
        task: `two-view` or `people`, for a released file of encoder and head together (MASt3R, DUNE-MASt3R, Multi-HMR).

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: for a task whose heads are not exported, or options that do not apply.
    """
    path = Path(what).expanduser()
    if task is not None:
        if task not in RELEASED:
            raise ConfigError(
                f"--task is for released files of encoder and head together ({', '.join(RELEASED)}); got {task}. The "
                "folder of a fitted head says its task itself"
            )
        if path.is_dir():
            raise ConfigError(f"--task would have no effect: {path} is a folder, which says its task itself")
        return HEADS[task](path, config).eval()
    if not is_head(path):
        return ExportedEncoder(what, config).eval()
    record = read_record(path)
    export = HEADS.get(record.task, partial(ExportedDenseHead, record.task))
    return export(path, config).eval()
