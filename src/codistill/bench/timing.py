"""Time several calls in turns: calls in, the shortest time of each out.

The best of several rounds counts, because other work on the machine can only lengthen a call. Turns distribute that
work evenly over all calls.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from codistill.nn.host_memory import keep_freed_memory

WARM_UP = 2
"""Number of calls before the first measured one."""
CPU = torch.device("cpu")


@dataclass
class Best:
    """The shortest of several measurements, in seconds.

    Attributes:
        wall: wall-clock time.
        cpu: processor time of all threads of this process.
        phases: wall-clock time of the shortest measurement, by phase.
        walls, cpus: all measurements, in order.
    """

    wall: float = float("inf")
    cpu: float = float("inf")
    phases: Mapping[str, float] = field(default_factory=dict)
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def saw(self, wall: float, cpu: float, phases: Mapping[str, float] | None = None) -> None:
        """Add a measurement: update the shortest times and the lists."""
        self.walls.append(wall)
        self.cpus.append(cpu)
        if wall < self.wall:
            self.wall, self.phases = wall, phases or {}
        self.cpu = min(self.cpu, cpu)


def measured(call: Callable[[], object], device: torch.device, repeats: int = 1) -> tuple[float, float]:
    """Wall-clock and processor seconds per call, over `repeats` calls."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        call()
    _wait(device)
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Ratio:
    """Ratio of the times of two calls that were measured in turns.

    Attributes:
        of_best: ratio of the shortest times.
        median, low, high: median and quartiles of the ratios of all turns.
    """

    of_best: float
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.of_best:.2f} (turns: {self.median:.2f} [{self.low:.2f}, {self.high:.2f}])"


def ratio(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """Compute the ratio from the times of two calls, turn by turn."""
    turns = sorted(a / b for a, b in zip(one, other, strict=True))
    low, median, high = (float(x) for x in np.quantile(turns, (0.25, 0.5, 0.75)))
    return Ratio(min(one) / min(other), median, low, high)


class Timed:
    """A call and its shortest time."""

    def __init__(self, call: Callable[[], object], device: torch.device = CPU, repeats: int = 1) -> None:
        self.call, self.device, self.repeats, self.best = call, device, repeats, Best()

    def measure(self) -> None:
        """Measure the mean of `repeats` calls once more."""
        self.best.saw(*measured(self.call, self.device, self.repeats))


def take_turns(rounds: int, *measures: Callable[[], None]) -> None:
    """Measure each of them once per round, one after the other."""
    for _ in range(rounds):
        for measure in measures:
            measure()


def prepare(threads: int) -> None:
    """Set PyTorch's number of threads, and keep freed memory in the process, as in training."""
    torch.set_num_threads(threads)
    keep_freed_memory()
