"""OpenCV's threads around worker processes.

OpenCV's thread pool does not survive a fork: a forked child that resizes the pool waits for threads it does not
have, for ever. So the pool is emptied in the parent before workers start, and a worker that inherits a count of one
leaves it alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def without_opencv_threads() -> Iterator[None]:
    """While workers are started: this process has no OpenCV threads that they could inherit."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def use_one_opencv_thread() -> None:
    """In a worker: parallelism is one process per core."""
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
