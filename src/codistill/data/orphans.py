"""Workers that end with the process they work for, however that one ends.

PyTorch's loader workers watch their parent. Under a fork server that is the server, which in turn lives as long as one
of its workers does: after a SIGKILL of the training process both would wait for each other, with their memory.
"""

import os
import threading
import time

_EVERY = 2.0
"""Seconds between two looks."""


def end_with(process: int) -> None:
    """Let this process end soon after another one has; nothing but the id of the other is needed."""
    if os.name == "posix":
        threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    while _lives(process):
        time.sleep(_EVERY)
    os._exit(1)  # from a thread, and while others may wait for a queue that nobody fills


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's: it is there
        return True
    return True
