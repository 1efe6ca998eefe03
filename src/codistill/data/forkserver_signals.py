"""Imported by the fork server alone, before it starts loader workers: SIGTERM does not end it.

It ends with the process that it serves. Were it gone before, PyTorch's workers would take themselves for orphans and
leave the training process without its next batch. What else it may have been asked to start is ended as ever.
"""

import os
import signal
from types import FrameType

_SERVER = os.getpid()


def _stay(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _SERVER:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, _stay)
