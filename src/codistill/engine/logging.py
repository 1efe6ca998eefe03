"""The log of a run: device scalars of each step in; metrics.jsonl, tracker curves and the progress display out.

The values of every step are written, with one read from the device per log interval. Times and memory are measured per
interval and written with its last step, as `time/…` and `memory/…`.
"""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from codistill.engine.distributed import Process
from codistill.engine.lines import append_lines, cut_after_step, cut_back, size_of
from codistill.engine.progress import ProgressDisplay
from codistill.engine.ring import MetricRing
from codistill.engine.timing import PhaseTimer
from codistill.engine.tracking import Tracker
from codistill.errors import CheckpointError
from codistill.types import Batch

METRICS, VALIDATION, BAD_IMAGES = "metrics.jsonl", "validation.jsonl", "bad_images.jsonl"
LINE_FILES = (METRICS, VALIDATION, BAD_IMAGES)

Row = tuple[int, dict[str, float]]


def peak_memory(device: torch.device) -> float:
    """Peak memory so far in GiB: of the device's allocator on CUDA, of the process's resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


class RunLog:
    """Collects the steps of one call of `train` and writes them.

    Args:
        run_dir: folder of the files; only rank 0 writes.
        process: this process.
        every: steps per log interval.
        learning_rates: one per step.
        trackers: receive curves, in addition to metrics.jsonl; none on ranks other than 0.
        display: shows progress to the user.
    """

    def __init__(
        self,
        run_dir: Path,
        process: Process,
        *,
        every: int,
        learning_rates: Sequence[float],
        trackers: Sequence[Tracker],
        display: ProgressDisplay,
    ) -> None:
        self.run_dir, self.process, self.display, self.trackers = run_dir, process, display, trackers
        self.timer = PhaseTimer(process.device)
        self.bad_images = 0
        self._learning_rates = learning_rates
        self._images = 0
        self._ring = MetricRing(every, process.device, summed=("bad_images",))
        self._bad: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for tracker in self.trackers:
                tracker.close()
        except CheckpointError:
            if error is None:  # otherwise the first error is the one to report
                raise
        finally:
            self.display.__exit__(kind, error, trace)

    @property
    def full(self) -> bool:
        """Whether `flush` must be called before the next step."""
        return self._ring.full

    def add(self, step: int, metrics: Mapping[str, Tensor], batches: Sequence[Batch]) -> None:
        """Keep one step's scalars and the bad images of its batches, without reading the device."""
        self._images += sum(len(batch) for batch in batches)
        bad = [image for batch in batches for image in batch.bad]
        self._bad += [
            {"step": step, "source": image.source, "name": image.name, "reason": image.reason}
            for image in bad
        ]
        count = torch.full((), float(len(bad)), device=self.process.device)
        self._ring.add(step, {**metrics, "bad_images": count})
        self.display.advance(step + 1)

    def flush(self) -> list[Row]:
        """Write the steps since the last flush and return them: step and values. One host sync."""
        rows = self._ring.read(lambda table: self.process.all_reduce_sum(table, "log"))
        if not rows:
            return []
        seconds, phases = self.timer.collect()
        images, self._images = self._images * self.process.world_size, 0  # every rank has the same number
        self._gather_bad(rows)
        if self.process.is_main:
            interval = {
                "time/step": seconds / len(rows),
                "time/images_per_second": images / seconds,
                **{f"time/share/{name}": spent / seconds for name, spent in phases.items()},
                "memory/peak_gib": peak_memory(self.process.device),
            }
            self._write(rows, interval)
        return rows

    def _gather_bad(self, rows: Sequence[Row]) -> None:
        found = sum(values["bad_images"] for _, values in rows)
        if not found:
            return
        everywhere = [bad for of_rank in self.process.gather_objects(self._bad) for bad in of_rank]
        self._bad.clear()
        self.bad_images += len(everywhere)
        if self.process.is_main:
            append_lines(self.run_dir / BAD_IMAGES, sorted(everywhere, key=lambda bad: bad["step"]))

    def _write(self, rows: Sequence[Row], interval: Mapping[str, float]) -> None:
        lines: list[dict[str, float]] = [
            {
                "step": step,
                "lr": self._learning_rates[step],
                **{k: float(f"{v:.9g}") for k, v in values.items()},
            }
            for step, values in rows
        ]
        lines[-1].update({name: float(f"{value:.4g}") for name, value in interval.items()})
        append_lines(self.run_dir / METRICS, lines)
        last = rows[-1][0]
        means = {**interval, "lr": self._learning_rates[last], **mean_of_rows(rows)}
        for tracker in self.trackers:
            tracker.log(last, means)
        self.display.interval(last + 1, means)

    def validation(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the results of the validation after `step` steps."""
        if not numbers or not self.process.is_main:
            return
        append_lines(self.run_dir / VALIDATION, [{"step": step, **numbers}])
        finite = {name: value for name, value in numbers.items() if value == value}
        for tracker in self.trackers:
            tracker.log(step, {f"validation/{name}": value for name, value in finite.items()})


def mean_of_rows(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each metric over the steps in which it is finite; a metric that never is, is left out."""
    by_name: dict[str, list[float]] = {}
    for _, values in rows:
        for name, value in values.items():
            if abs(value) < float("inf"):
                by_name.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in by_name.items()}


def line_sizes(run_dir: Path) -> dict[str, int]:
    """Return each JSON-lines file's size in bytes. A checkpoint stores them, and resuming truncates to them."""
    return {name: size_of(run_dir / name) for name in LINE_FILES}


def cut_lines(run_dir: Path, step: int, sizes: Mapping[str, int]) -> None:
    """Drop the lines written after a step's checkpoint, by the sizes that it recorded.

    The validation of that very step is kept: it is written after the checkpoint.
    """
    for name in (METRICS, BAD_IMAGES):
        cut_back(run_dir / name, int(sizes.get(name, 0)))
    cut_after_step(run_dir / VALIDATION, step)
