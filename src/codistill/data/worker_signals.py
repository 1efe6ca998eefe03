"""Signals that reach loader workers: left to the process that they load for.

A scheduler, a container's end or Ctrl-C sends its signal to every process of a job. The training process then finishes
its step, saves and ends, and its workers with it; a worker that died first would take the step, and the checkpoint,
with it. PyTorch's own handler ends a worker at once.
"""

import os
import signal
import threading
from types import FrameType

_GRACE = 30.0
"""Seconds that a worker still serves after SIGTERM: as long as torchrun waits; also how a stuck one is got rid of."""


def leave_signals_to_the_loader() -> None:
    """In a worker: ignore Ctrl-C and a closed terminal, and take SIGTERM as a request to be gone before long."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)


def _end_soon(number: int, frame: FrameType | None) -> None:
    timer = threading.Timer(_GRACE, os._exit, (1,))
    timer.daemon = True  # the worker may end before
    timer.start()
