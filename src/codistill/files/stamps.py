"""What a file was when something was derived from it: its size and modification time.

Whatever is derived from files and kept (features, indices, banks) stores the stamps of what it was made from, and
compares them before it is used again.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Stamp:
    """A file's size in bytes and its modification time in nanoseconds."""

    size: int
    modified_ns: int


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """The stamp of a file as it is now; a link's is that of the file it leads to.

    Raises:
        OSError: if the file is missing or unreadable.
    """
    status = os.stat(path)  # noqa: PTH116  (a string is enough: a million of these)
    return Stamp(status.st_size, status.st_mtime_ns)
