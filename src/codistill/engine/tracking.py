"""Where curves go beside metrics.jsonl: TensorBoard by default, Weights & Biases or MLflow by an option."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from torch.utils.tensorboard import SummaryWriter

from codistill.engine.files import cannot_write
from codistill.errors import MissingExtraError

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class Tracker(Protocol):
    """Takes numbers by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Finite numbers of one step."""
        ...

    def close(self) -> None:
        """Write everything out."""
        ...


class TensorBoardTracker:
    """Event files in `tensorboard/`; a resumed run hides what was written beyond its first step.

    A full disk or a read-only folder raises CheckpointError, once: a writer that failed is not closed again.
    """

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        self._folder = run_dir / "tensorboard"
        self._failed = False
        with self._writing():
            self._writer = SummaryWriter(str(self._folder), purge_step=start_step or None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
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


class WandbTracker:
    """A Weights & Biases run named like the run folder, continued under the same id."""

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("wandb", "tracking", "the tracker wandb") from error
        self._run = wandb.init(
            dir=str(run_dir), name=run_dir.name, id=run_dir.name, resume="allow", config=dict(config)
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class MlflowTracker:
    """An MLflow run named like the run folder; where it goes is MLflow's own setting (MLFLOW_TRACKING_URI)."""

    def __init__(self, run_dir: Path, start_step: int, config: Mapping[str, Any]) -> None:
        try:
            import mlflow  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError("mlflow", "tracking", "the tracker mlflow") from error
        self._mlflow = mlflow
        mlflow.start_run(run_name=run_dir.name)
        mlflow.log_dict(dict(config), "config.json")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


TRACKERS: dict[TrackerName, Callable[[Path, int, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
