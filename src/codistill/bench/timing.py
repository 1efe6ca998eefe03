"""Calls timed in turn: calls in, the shortest time of each out.

The best of several rounds counts, since other work on the machine only lengthens calls; turns spread it over all calls
alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from codistill.nn.host_memory import keep_freed_memory

WARM_UP = 2
"""Calls before the first that counts."""
CPU = torch.device("cpu")


@dataclass
class Best:
    """The shortest of several measurements, in seconds.

    Attributes:
        wall: on the clock.
        cpu: of all this process's threads.
        phases: wall-clock time of the shortest one, by phase.
        walls, cpus: all of them, in order.
    """

    wall: float = float("inf")
    cpu: float = float("inf")
    phases: Mapping[str, float] = field(default_factory=dict)
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def saw(self, wall: float, cpu: float, phases: Mapping[str, float] | None = None) -> None:
        """Keep the shorter times, and all of them."""
        self.walls.append(wall)
        self.cpus.append(cpu)
        if wall < self.wall:
            self.wall, self.phases = wall, phases or {}
        self.cpu = min(self.cpu, cpu)


def measured(call: Callable[[], object], device: torch.device, repeats: int = 1) -> tuple[float, float]:
    """Wall-clock and processor seconds of one of `repeats` calls."""
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
    """How many times as long one call took as another, both measured in turns.

    Attributes:
        of_best: of the shortest times.
        median, low, high: of the ratios of all turns: the median and the quartiles.
    """

    of_best: float
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.of_best:.2f} (turns: {self.median:.2f} [{self.low:.2f}, {self.high:.2f}])"


def ratio(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """Times of one call over those of another, turn by turn."""
    turns = sorted(a / b for a, b in zip(one, other, strict=True))
    low, median, high = (float(x) for x in np.quantile(turns, (0.25, 0.5, 0.75)))
    return Ratio(min(one) / min(other), median, low, high)


class Timed:
    """A call and the shortest time that it took."""

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
    """PyTorch on this many threads; freed memory is kept, as in training."""
    torch.set_num_threads(threads)
    keep_freed_memory()
