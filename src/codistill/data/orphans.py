"""End loader workers together with the process that they load for, however that process ends.

PyTorch's loader workers watch their parent, the fork server, which in turn lives as long as one of its workers. After a
SIGKILL of the training process, both would wait for each other and keep their memory.
"""

import os
import threading
import time

_EVERY = 2.0
"""Seconds between two checks."""


def end_with(process: int) -> None:
    """End this process soon after another one, of which only the id is known, has ended."""
    if os.name == "posix":
        threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    while _lives(process):
        time.sleep(_EVERY)
    os._exit(1)  # from a thread: other threads may be waiting for a queue


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's: it exists
        return True
    return True
