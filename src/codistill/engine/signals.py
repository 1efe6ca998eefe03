"""Stopping on request: a signal in; an agreement among all ranks to stop after the same step out.

A preempted node gets SIGTERM, a closed terminal sends SIGHUP, Ctrl-C is SIGINT. The run then writes a checkpoint and
ends. The request is sent with the flags that every step sums over ranks anyway. On CUDA the sum is read two steps
later, when it is ready, so that no step waits for it.

Signals come in pairs: a scheduler sends one to every process, and torchrun forwards its own to its workers. A second
signal therefore changes nothing, except for a later Ctrl-C, which only a person sends: it interrupts at once.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor

from codistill.engine.distributed import Process

_CUDA_LAG = 2
_PAIR = 2.0
"""Seconds within which a second Ctrl-C counts as belonging to the first one."""


class StopVote:
    """Decides whether to stop, in agreement with all ranks.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lag = _CUDA_LAG if process.device.type == "cuda" else 0
        self._sums: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
        self.requested: str | None = None

    def ballot(self) -> Tensor:
        """This rank's vote, a scalar on the device: 1 if this process was asked to stop."""
        return torch.full((), float(self.requested is not None), device=self._process.device)

    def count(self, votes: Tensor) -> None:
        """Store the sum of one step's votes over ranks."""
        if self._process.world_size == 1:
            return
        event = None
        if votes.is_cuda:
            host = torch.empty((), pin_memory=True)
            host.copy_(votes, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            votes = host
        self._sums.append((votes, event))

    def agreed(self) -> bool:
        """Whether to stop now; the same answer on every rank after the same step."""
        if self._process.world_size == 1:
            return self.requested is not None
        if len(self._sums) <= self._lag:
            return False
        votes, event = self._sums.popleft()
        if event is not None:
            event.synchronize()
        return bool(votes.numpy() > 0)

    @contextmanager
    def listening(self) -> Generator[None]:
        """Treat signals as requests to stop, within the block (only possible in the main thread)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # under nohup it is ignored
            previous[signal.SIGHUP] = signal.SIG_DFL
        asked = 0.0

        def request(number: int, frame: FrameType | None) -> None:
            nonlocal asked
            now = time.monotonic()
            if self.requested is None:
                self.requested, asked = signal.Signals(number).name, now
            elif number == signal.SIGINT and now - asked > _PAIR:
                restore()
                raise KeyboardInterrupt

        def restore() -> None:
            for number, handler in previous.items():
                signal.signal(number, handler)

        for number in previous:
            signal.signal(number, request)
        try:
            yield
        finally:
            restore()
