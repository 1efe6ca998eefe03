"""Read a file whose name is not trusted: only a regular file of limited size; anything else is an error, never a wait.

Lists, manifests and folders may name anything. A named pipe waits for a writer forever, `/dev/zero` does not end, and
opening some devices has an effect on them. The kind of file is therefore checked before it is opened.
"""

import os
import stat

from codistill.errors import DataError

MAX_FILE_BYTES = 1 << 30
"""Default size limit of a file that is read whole."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_regular(path: str | os.PathLike[str], *, what: str = "file", limit: int = MAX_FILE_BYTES) -> bytes:
    """Read the bytes of a regular file, or of the regular file to which a link leads.

    Args:
        path: the file.
        what: what the file should be, for errors: `image file`.
        limit: bytes; a larger file is refused.

    Raises:
        DataError: if it is missing, a folder, a pipe, a socket or a device, larger than `limit`, or unreadable.
    """
    try:
        _check_regular(path, os.stat(path), what)  # noqa: PTH116  (a string is enough: a million of these)
        descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
            status = os.fstat(descriptor)
            _check_regular(path, status, what)  # it may have been replaced in between
            if status.st_size > limit:
                raise DataError(
                    f"{path}: {status.st_size} bytes are more than the {limit} that one {what} may have"
                )
            return _read(file.fileno(), status.st_size)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read: {error or type(error).__name__}") from error


def _check_regular(path: str | os.PathLike[str], status: os.stat_result, what: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path}: is a folder; wanted one {what}")
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise DataError(f"{path}: is {kind}; only regular files are read")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: is not a regular file")


def _read(descriptor: int, size: int) -> bytes:
    """Read as many bytes as the file's stated size. Growth in the meantime (or a size of 0, as in /proc) is ignored."""
    parts, left = [], size
    while left:
        part = os.read(descriptor, left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
