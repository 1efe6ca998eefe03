"""Keep freed host memory within the process, so that the next step can reuse it.

By default glibc returns large freed blocks to the system. Every step on a CPU then waits until tens of
thousands of pages are mapped and cleared again. Other systems, and the memory of devices, are not affected.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT = 2**31 - 1
_LARGEST_BLOCK = 32 * 2**20
"""Larger blocks always come from the system, whatever is set (glibc's DEFAULT_MMAP_THRESHOLD_MAX)."""
_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GiB of freed memory; returns whether the C library accepted it."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_BLOCK), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _PAD))
    return all(mallopt(option, value) == 1 for option, value in settings)
