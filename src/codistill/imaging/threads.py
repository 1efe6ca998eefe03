"""Manage OpenCV's threads around worker processes.

OpenCV's thread pool does not survive a fork: a forked child that resizes the pool waits forever for threads that it
does not have. So the parent empties the pool before workers start, and a worker that inherits a count of one keeps it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def without_opencv_threads() -> Iterator[None]:
    """Context in which workers are started: this process has no OpenCV threads that they could inherit."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def use_one_opencv_thread() -> None:
    """Use one thread in a worker, since there is one process per core."""
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
