"""Ignore signals in loader workers: the training process handles them.

A scheduler, a stopped container or Ctrl-C sends its signal to every process of a job. The training process then
finishes its step, saves and ends, and its workers end with it. It could not do so without its workers, and PyTorch's
own handler ends a worker at once.
"""

import os
import signal
import threading
from types import FrameType

_GRACE = 30.0
"""Seconds for which a worker still serves after SIGTERM, as long as torchrun waits; a stuck worker then ends too."""


def leave_signals_to_the_loader() -> None:
    """Call in a worker: ignore Ctrl-C and a closed terminal, and end some time after SIGTERM."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)


def _end_soon(number: int, frame: FrameType | None) -> None:
    timer = threading.Timer(_GRACE, os._exit, (1,))
    timer.daemon = True  # the worker may end earlier
    timer.start()
