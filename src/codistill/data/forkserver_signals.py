"""Keep SIGTERM and SIGHUP from ending the fork server, which alone imports this, before it starts loader workers.

It ends with the process that it serves. If it ended earlier, PyTorch's workers would take themselves for orphans and
leave the training process without its next batch. Other processes that it starts keep the default handlers.
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
