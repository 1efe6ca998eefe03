"""The folder of a run: locked, checked against the recipe and cut back to a checkpoint at the start of `train`.

In: the folder, the recipe and the settings of this call. Out: the checkpoint to resume from.
"""

import fcntl
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codistill.engine.checkpoint import Checkpoint, find_checkpoint, remove_leftovers
from codistill.engine.logging import cut_lines
from codistill.errors import ConfigError
from codistill.files.config import changed_fields, load_yaml, save_yaml
from codistill.files.plain import from_plain, to_plain
from codistill.files.writing import cannot_write, make_directory, write_atomic
from codistill.weights.export import is_export
from codistill.weights.run import STATE

CONFIG, DESCRIBE = "config.yaml", "describe.json"


@dataclass(frozen=True)
class Opened:
    """State of a run's folder.

    Attributes:
        checkpoint: the one to resume from; None for a new run.
        problems: what is wrong with damaged checkpoints that were skipped.
    """

    checkpoint: Checkpoint | None
    problems: list[str]

    @property
    def step(self) -> int:
        """Number of steps done."""
        return 0 if self.checkpoint is None else self.checkpoint.step


@contextmanager
def locked(run_dir: Path, wanted: bool) -> Generator[None]:
    """Keep a second process from training in the same folder. The lock ends with this process.

    Raises:
        ConfigError: if another process trains there.
    """
    if not wanted:
        yield
        return
    try:
        file = (run_dir / ".lock").open("a")
    except OSError as error:
        raise cannot_write(run_dir, error) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConfigError(
                f"another process is training in {run_dir}. Wait for it, stop it, or choose another --out."
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def open_run(run_dir: Path, recipe: Any, settings: Any) -> Opened:
    """Find the checkpoint to resume from and cut the folder back to it. Only rank 0 calls this.

    Args:
        run_dir: the folder, which must exist.
        recipe: the user's config, saved in config.yaml.
        settings: the engine's own settings, saved in each checkpoint.

    Raises:
        ConfigError: if the recipe or the settings changed since the checkpoint, in a way that changes training, or the
            folder is an export.
        CheckpointError: if the folder cannot be written, or none of its checkpoints is complete.
    """
    if is_export(run_dir):
        raise ConfigError(
            f"{run_dir} is an export, which a run in it would hide. Name another folder (--out)."
        )
    make_directory(run_dir / "checkpoints")
    remove_leftovers(run_dir)
    checkpoint, problems = find_checkpoint(run_dir)
    if checkpoint is not None:
        _refuse_changes(run_dir, checkpoint, recipe, settings)
    sizes: Mapping[str, int] = {} if checkpoint is None else checkpoint.state.get("lines", {})
    cut_lines(run_dir, 0 if checkpoint is None else checkpoint.step, sizes)
    save_yaml(recipe, run_dir / CONFIG)
    if to_plain(load_yaml(recipe.__class__, run_dir / CONFIG)) != to_plain(recipe):
        raise TypeError(
            f"{type(recipe).__name__} read back from YAML differs from what was written: runs could not resume"
        )
    return Opened(checkpoint, problems)


def _refuse_changes(run_dir: Path, checkpoint: Checkpoint, recipe: Any, settings: Any) -> None:
    path = run_dir / CONFIG
    changes = changed_fields(load_yaml(recipe.__class__, path), recipe) if path.exists() else []
    if not changes:
        where = f"{checkpoint.folder / STATE}: settings"
        changes = changed_fields(
            from_plain(type(settings), checkpoint.state.get("settings"), where), settings
        )
    if changes:
        raise ConfigError(
            f"{run_dir} was trained to step {checkpoint.step} with other settings. Changed since: "
            f"{'; '.join(changes)}. Give the old values to resume, or another --out to start anew."
        )


def write_description(run_dir: Path, description: Mapping[str, Any]) -> None:
    """Write describe.json, which describes this run for an export."""
    write_atomic(run_dir / DESCRIBE, json.dumps(description, indent=1, ensure_ascii=False) + "\n")
