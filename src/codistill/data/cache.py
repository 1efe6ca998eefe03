"""The folder for what can be made again: indices of sources that lie in folders we may not write to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codistill.errors import DataError


def cache_folder() -> Path:
    """`$CODISTILL_CACHE`, else `$XDG_CACHE_HOME/codistill`, else `~/.cache/codistill`."""
    chosen = os.environ.get("CODISTILL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "codistill"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: readers see the old file, the new one or none.

    On an error the temporary file is removed and the old one stays.

    Raises:
        DataError: if the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder and its parents; DataError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """The error for a full disk, a read-only folder, a path through a file."""
    parent = next((folder for folder in (path, *path.parents) if folder.is_dir()), Path())
    free = shutil.disk_usage(parent).free / 2**30
    return DataError(
        f"{path}: cannot be written ({error.strerror or error}; {free:.1f} GiB are free in {parent}). What was "
        "finished before stays; make space or fix the permissions, and run the same command again."
    )
