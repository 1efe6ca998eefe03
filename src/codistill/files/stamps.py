"""Stamps: size and modification time of a file at the time when something was derived from it.

Stored results (features, indices, banks) contain the stamps of their input files, which are compared before reuse.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Stamp:
    """A file's size in bytes and its modification time in nanoseconds."""

    size: int
    modified_ns: int


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """The current stamp of a file; for a link, that of its target.

    Raises:
        OSError: if the file is missing or unreadable.
    """
    status = os.stat(path)  # noqa: PTH116  (a string is enough: a million of these)
    return Stamp(status.st_size, status.st_mtime_ns)
