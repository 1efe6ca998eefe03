"""Trackers, which record curves beside metrics.jsonl: TensorBoard by default, Weights & Biases or MLflow by option.

With Weights & Biases and MLflow each run has its own id, kept in its trackers.json: a resumed run continues under it,
and two runs whose folders have the same name stay two.
"""

import json
import logging
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from torch.utils.tensorboard import SummaryWriter

from codistill.errors import MissingExtraError
from codistill.files.json_files import read_json
from codistill.files.writing import cannot_write, make_directory, write_atomic

IDS = "trackers.json"
_LOG = logging.getLogger(__name__)
TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class Tracker(Protocol):
    """Records finite numbers by step; `close` writes out what is buffered."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardTracker:
    """Writes event files to `tensorboard/`. A resumed run hides what was written after its first step.

    A full disk or a read-only folder raises CheckpointError, once: a writer that failed is not closed again.
    """

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        self._folder = run_dir / "tensorboard"
        self._failed = False
        with self._writing():
            self._writer: Any = SummaryWriter(str(self._folder), purge_step=start_step or None)

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self._failed = True
            raise cannot_write(self._folder, error) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with self._writing():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self) -> None:
        if not self._failed:
            with self._writing():
                self._writer.close()


class RunIds:
    """The ids of a run with external trackers. A copied folder is another run; a moved one is the same.

    Args:
        run_dir: folder of the run, in which the ids are kept.
        start_step: first step of this call; a new run gets new ids.
    """

    def __init__(self, run_dir: Path, start_step: int) -> None:
        self._path, self._resumes = run_dir / IDS, start_step > 0
        known = read_json(self._path) if self._path.is_file() else {}
        here = run_dir.absolute()
        other = Path(str(known.get("folder", here))) / IDS
        copied = other.is_file() and not other.samefile(self._path)
        self._known: dict[str, Any] = {
            "folder": str(here),
            "ids": {} if copied else dict(known.get("ids", {})),
        }
        if known and self._known["folder"] != known.get("folder"):
            self._write()

    def get(self, tracker: str) -> str | None:
        """The id under which a tracker knows this run; None if it does not know it yet."""
        return self._known["ids"].get(tracker) if self._resumes else None

    def keep(self, tracker: str, name: str) -> None:
        self._known["ids"][tracker] = name
        self._write()

    def _write(self) -> None:
        make_directory(self._path.parent)
        write_atomic(self._path, json.dumps(self._known, indent=1) + "\n")


class WandbTracker:
    """A Weights & Biases run named like the run folder; a resumed run continues under its id."""

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("wandb", "tracking", "the tracker wandb") from error
        ids = RunIds(run_dir, start_step)
        name = ids.get("wandb") or uuid.uuid4().hex
        ids.keep("wandb", name)
        self._run: Any = wandb.init(  # pyright: ignore[reportUnknownMemberType]
            dir=str(run_dir), name=run_dir.name, id=name, resume="allow", config=dict(config)
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class MlflowTracker:
    """An MLflow run named like the run folder, at MLFLOW_TRACKING_URI; a resumed run continues in it."""

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        try:
            import mlflow  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("mlflow", "tracking", "the tracker mlflow") from error
        self._mlflow: Any = mlflow
        ids = RunIds(run_dir, start_step)
        if self._resumes(ids.get("mlflow")):
            return
        ids.keep("mlflow", self._mlflow.start_run(run_name=run_dir.name).info.run_id)
        self._mlflow.log_dict(dict(config), "config.json")

    def _resumes(self, known: str | None) -> bool:
        """Whether the known run could be continued. The server may be another one now, or may have deleted it."""
        if known is None:
            return False
        try:
            self._mlflow.start_run(run_id=known)
        except self._mlflow.exceptions.MlflowException as error:
            _LOG.warning("MLflow cannot resume run %s (%s): a new one is started", known, error)
            return False
        return True

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


TRACKERS: dict[TrackerName, Callable[[Path, int, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
