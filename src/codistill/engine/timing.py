"""Time of a step by phase, without a device sync.

On CUDA a phase is a pair of events on the stream, read after the next sync. The phase "data" is therefore the time that
the device was idle, not the time that the host waited while running ahead of it. On a CPU, a phase is measured by a
clock.
"""

import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager

import torch


class PhaseTimer:
    """Seconds per phase since the last `collect`.

    Args:
        device: where the phases run.
    """

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._free: list[torch.cuda.Event] = []
        self._pairs: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._started = time.perf_counter()

    def restart(self) -> None:
        """Start a new interval, discarding measurements."""
        self.collect()

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Add the time of the block to a phase. Blocks of the same phase add up; blocks must not nest."""
        if not self._events:
            start = time.perf_counter()
            try:
                yield
            finally:
                self._seconds[name] += time.perf_counter() - start
            return
        start_event, end_event = self._event(), self._event()
        start_event.record()
        try:
            yield
        finally:
            end_event.record()
            self._pairs.append((name, start_event, end_event))

    def _event(self) -> torch.cuda.Event:
        return self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)

    def collect(self) -> tuple[float, dict[str, float]]:
        """Return the seconds since the last call, in total and by phase. On CUDA it waits for the device."""
        if self._pairs:
            self._pairs[-1][2].synchronize()
        for name, start, end in self._pairs:
            self._seconds[name] += start.elapsed_time(end) / 1000.0
            self._free += (start, end)
        phases = dict(self._seconds)
        self._pairs.clear()
        self._seconds.clear()
        now = time.perf_counter()
        total, self._started = now - self._started, now
        return total, phases
