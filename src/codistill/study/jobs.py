"""Run a cell's command as a separate process, with a log. It can be stopped, and ends with its parent process."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codistill.engine.distributed import DeviceChoice
from codistill.files.writing import make_directory
from codistill.study.cells import Cell
from codistill.study.claims import STALE, Claim
from codistill.study.logs import PROMPT


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How cells are run; nothing here changes a result.

    Attributes:
        jobs: number of cells that run at the same time.
        device, workers: of their commands; see `codistill evaluate`.
        stale: seconds without a heartbeat after which a holder on another machine counts as gone.
        keep_features: keep the features on which heads were fitted.
        target_cache: folder of the trainings' `TargetCache`; None: each computes its targets.
    """

    jobs: int = 1
    device: DeviceChoice = "auto"
    workers: int | None = None
    stale: float = STALE
    keep_features: bool = False
    target_cache: Path | None = None


@dataclass
class Job:
    """A cell that is running.

    Attributes:
        cell, claim, process: the cell, this process's claim on it, and the command's process.
        asked_to_stop: whether the command was asked to stop.
    """

    cell: Cell
    claim: Claim
    process: "subprocess.Popen[bytes]"
    asked_to_stop: bool = False

    def stop(self) -> None:
        """Ask the command, once, to save its state and to end."""
        if not self.asked_to_stop:
            self.asked_to_stop = True
            self.process.terminate()


def begin(cell: Cell, held: Claim, log: Path, options: RunOptions, program: Sequence[str]) -> Job:
    """Start a cell's command.

    Args:
        cell, held: the cell, and the claim on it, in which the command's process is noted.
        log: file to which the command's output is appended.
        options: see the class.
        program: the program that gets the cell's words as arguments.
    """
    words = [*cell.words]
    if cell.kind != "world":
        words += ["--device", options.device]
    if cell.kind == "evaluation" and options.workers is not None:
        words += ["--workers", str(options.workers)]
    if cell.kind == "training" and options.target_cache is not None:
        words += ["--target-cache", str(options.target_cache)]
    make_directory(log.parent)
    with log.open("ab") as file:
        file.write(f"\n{PROMPT}{shlex.join(words)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            [*program, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it only through this process
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            env=_environment(options.jobs),
        )
    held.told(process.pid)
    return Job(cell, held, process)


def _environment(jobs: int) -> dict[str, str]:
    """The environment of a command; commands that run at the same time share the CPUs."""
    environment = dict(os.environ)
    if jobs > 1 and "OMP_NUM_THREADS" not in environment:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment["OMP_NUM_THREADS"] = str(max(1, cpus // jobs))
    return environment


def _end_with_parent() -> None:
    """Ask the kernel to send SIGTERM to this new process when the one that started it ends, however that happens."""
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
