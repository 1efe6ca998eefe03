"""Checkpoints: the state of a run after a number of steps. A checkpoint is complete or does not exist.

    checkpoints/step_00000100/model.safetensors       the trainable module's state dict, plain names
                              optimizer.safetensors   moments; under FSDP2 sharded/*.safetensors instead
                              state.json              step, versions, sizes of the log, SHA-256 of the files

A folder is written under a temporary name, synced and renamed; state.json is written last. Random states are not
saved: every draw of a run is a function of (seed, step). Sharded states are written by torch.distributed.checkpoint in
its safetensors form (no pickle). They can be read at any other world size, and by one process.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_sharded  # pyright: ignore[reportUnknownVariableType]
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded  # pyright: ignore[reportUnknownVariableType]

from codistill.engine.distributed import Process
from codistill.engine.optim import MOMENTS, TrainOptimizer
from codistill.engine.parallel import whole_state
from codistill.errors import CheckpointError, WriteError
from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.json_files import read_json
from codistill.files.tensors import write_tensors
from codistill.files.writing import (
    cannot_write,
    make_directory,
    remove_quietly,
    replace_folder,
    sync,
    write_atomic,
)
from codistill.version import __version__
from codistill.weights.run import CHECKPOINTS, MODEL, STATE

OPTIMIZER, SHARDED, SEAL = "optimizer.safetensors", "sharded", "state_sha256"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint folder.

    Attributes:
        folder: its path.
        step: number of steps done when it was written.
        state: the content of state.json.
    """

    folder: Path
    step: int
    state: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Which checkpoints are kept: the `last` newest ones, and those of every `every`-th step (0: none)."""

    last: int
    every: int = 0

    def stays(self, step: int, newest: list[int]) -> bool:
        """Whether the checkpoint of a step is kept, given all steps that have a checkpoint."""
        return step in sorted(newest)[-self.last :] or (self.every > 0 and step % self.every == 0)


def folder_of(run_dir: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps."""
    return run_dir / CHECKPOINTS / f"step_{step:08d}"


def step_folders(run_dir: Path) -> dict[int, Path]:
    """Return all checkpoint folders by step, oldest first, whether complete or damaged."""
    found = {
        int(folder.name.removeprefix("step_")): folder
        for folder in (run_dir / CHECKPOINTS).glob("step_*")
        if folder.name.removeprefix("step_").isdecimal() and folder.is_dir()
    }
    return dict(sorted(found.items()))


def save_checkpoint(
    run_dir: Path,
    step: int,
    module: nn.Module,
    optimizer: TrainOptimizer,
    *,
    notes: Mapping[str, Any],
    process: Process,
    keep: Keep,
) -> None:
    """Write the checkpoint after `step` steps and remove those that are no longer kept. Every rank must call this.

    Args:
        run_dir: folder of the run.
        step: number of steps done.
        module: the trainable module, plain or wrapped by FSDP2 (not DDP's wrapper).
        optimizer: its optimizer.
        notes: further entries of state.json, beside the step, the versions and the hashes; JSON values.
        process: this process.
        keep: which checkpoints are kept.

    Raises:
        CheckpointError: if the disk is full or read-only. Earlier checkpoints are untouched.
    """
    temporary = run_dir / CHECKPOINTS / f".tmp-step_{step:08d}"
    moments = optimizer.state_tensors()
    sharded = optimizer.sharded
    model = whole_state(module, keep=process.is_main)
    process.on_main(lambda: _begin(temporary))
    try:
        if sharded:
            save_sharded(
                moments,
                storage_writer=HuggingFaceStorageWriter(str(temporary / SHARDED), save_distributed=True),
            )
        files = {MODEL: model} if sharded else {MODEL: model, OPTIMIZER: moments}
        process.on_main(lambda: _finish(temporary, folder_of(run_dir, step), files, {"step": step, **notes}))
    except (OSError, SafetensorError, CheckpointException, CheckpointError) as error:
        process.on_main(lambda: remove_quietly(temporary))
        if isinstance(error, CheckpointError):
            raise
        raise cannot_write(temporary, RuntimeError(str(error))) from error
    process.on_main(lambda: _prune(run_dir, keep))


def _begin(temporary: Path) -> None:
    remove_quietly(temporary)
    make_directory(temporary)


def _finish(
    temporary: Path, final: Path, files: Mapping[str, Mapping[str, Tensor]], notes: Mapping[str, Any]
) -> None:
    try:
        for name, tensors in files.items():
            write_tensors(temporary / name, tensors)
        written = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        for path in written:
            sync(path)
        hashes = {str(path.relative_to(temporary)): file_sha256(path) for path in written}
        versions = {"codistill": __version__, "torch": torch.__version__}
        state = {"format": 1, "versions": versions, **notes, "sha256": hashes}
        write_atomic(temporary / STATE, json.dumps({**state, SEAL: _seal(state)}, indent=1) + "\n")
        replace_folder(temporary, final)
    except (OSError, WriteError) as error:
        remove_quietly(temporary)
        raise cannot_write(final, error) from error


def _seal(state: Mapping[str, Any]) -> str:
    """SHA-256 of state.json's own content, without the entry that holds it."""
    rest = {key: value for key, value in state.items() if key != SEAL}
    return text_sha256(json.dumps(rest, sort_keys=True))


def _prune(run_dir: Path, keep: Keep) -> None:
    folders = step_folders(run_dir)
    for step, folder in folders.items():
        if not keep.stays(step, list(folders)):
            doomed = folder.with_name(f".old-{folder.name}")
            folder.replace(doomed)
            remove_quietly(doomed)


def remove_leftovers(run_dir: Path) -> None:
    """Remove the remains of an interrupted save. A complete checkpoint that was being replaced is restored."""
    for path in (run_dir / CHECKPOINTS).glob(".old-step_*"):
        home = path.with_name(path.name.removeprefix(".old-"))
        if not home.exists() and not _problem(path):
            path.replace(home)
        remove_quietly(path)
    for pattern in (f"{CHECKPOINTS}/.tmp-step_*", ".tmp-*"):
        for path in run_dir.glob(pattern):
            remove_quietly(path)


def _problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        state = read_json(folder / STATE)
    except CheckpointError as error:
        return str(error)
    if state.get(SEAL) != _seal(state):
        return f"{folder / STATE}: was changed or damaged since it was written (its own SHA-256 differs)"
    step = folder.name.removeprefix(".old-").removeprefix("step_")
    if state["step"] != int(step):
        return f"{folder / STATE}: belongs to step {state['step']}, but its folder is {folder.name}"
    for name, expected in state["sha256"].items():
        path = folder / name
        if not path.is_file():
            return f"{path}: is missing"
        if file_sha256(path) != expected:
            return f"{path}: does not have the SHA-256 that {STATE} says; it was not written or copied to its end"
    return None


def find_checkpoint(run_dir: Path) -> tuple[Checkpoint | None, list[str]]:
    """Find the newest complete checkpoint of a run; also say what is wrong with newer ones, which are moved aside.

    A damaged folder is renamed to `damaged-step_…`, so that nothing takes it for a checkpoint.

    Raises:
        CheckpointError: if there are checkpoints but none is complete.
    """
    problems: list[str] = []
    damaged: list[Path] = []
    for step, folder in reversed(step_folders(run_dir).items()):
        problem = _problem(folder)
        if problem is None:
            for path in damaged:
                aside = path.with_name(f"damaged-{path.name}")
                remove_quietly(aside)
                path.replace(aside)
            return Checkpoint(folder, step, read_json(folder / STATE)), problems
        problems.append(problem)
        damaged.append(folder)
    if problems:
        raise CheckpointError(
            f"{run_dir} has checkpoints, but none is whole: {'; '.join(problems)}. Bring one back from a copy, or "
            f"remove {run_dir / CHECKPOINTS} to train from the beginning."
        )
    return None, []


def load_model(checkpoint: Checkpoint, module: nn.Module) -> None:
    """Load a checkpoint's values into a module that is not wrapped yet.

    Raises:
        CheckpointError: if the names or shapes in the file differ from the module's.
    """
    path = checkpoint.folder / MODEL
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} does not fit the model of this run: {error}. Was the model's code or its recipe changed? "
            "Use the version that started the run, or another --out."
        ) from error


def load_optimizer(checkpoint: Checkpoint, optimizer: TrainOptimizer) -> None:
    """Load a checkpoint's moments into an optimizer. Each may be sharded or not, independently of the other.

    Raises:
        CheckpointError: if the moments belong to other parameters.
    """
    folder = checkpoint.folder
    sharded = folder / SHARDED
    try:
        if not sharded.is_dir() and not optimizer.sharded:
            saved = load_file(folder / OPTIMIZER)
            tensors = optimizer.empty_state(saved)
            for key, tensor in tensors.items():
                tensor.copy_(saved[key])
        else:
            tensors = _read_shards(sharded if sharded.is_dir() else folder, optimizer)
    except (OSError, ValueError, RuntimeError, SafetensorError, CheckpointException) as error:
        raise CheckpointError(f"{folder}: its optimizer does not fit this model: {error}") from error
    optimizer.load_state(tensors)


def _read_shards(folder: Path, optimizer: TrainOptimizer) -> dict[str, Tensor]:
    """Read moments from files of any layout into the layout of this optimizer's parameters."""
    reader = HuggingFaceStorageReader(str(folder))
    keys = [key for key in reader.read_metadata().state_dict_metadata if key.split(".")[0] in MOMENTS]
    tensors = optimizer.empty_state(keys)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*assuming the intent is to load in a single process.*")
        load_sharded(tensors, storage_reader=reader, no_dist=not dist.is_initialized())
    return tensors
