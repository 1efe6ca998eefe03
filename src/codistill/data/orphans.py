"""Workers that end with the process they load for, however that one ends.

PyTorch's loader workers watch their parent: the fork server, which in turn lives as long as one of its workers. After a
SIGKILL of the training process both would wait for each other, and keep their memory.
"""

import os
import threading
import time

_EVERY = 2.0
"""Seconds between two looks."""


def end_with(process: int) -> None:
    """End this process soon after another one has ended, known by its id alone."""
    if os.name == "posix":
        threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    while _lives(process):
        time.sleep(_EVERY)
    os._exit(1)  # from a thread, while others may wait for an empty queue


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's: it exists
        return True
    return True
