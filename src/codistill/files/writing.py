"""Files that are either whole or not there: written beside their place, synced to the disk, then renamed."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

from codistill.errors import CheckpointError, ConfigError


def cannot_write(path: Path, error: Exception) -> CheckpointError:
    """The error for a full disk, a read-only folder, a path through a file: it says which of them, and what to do."""
    return CheckpointError(
        f"{path} could not be written: {error}. {_way_out(path, error)} Nothing that was already saved is lost."
    )


def _way_out(path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    parent = next((p for p in (path, *path.parents) if p.is_dir()), Path())
    file = file_on_the_way(path) if number in (errno.EEXIST, errno.ENOTDIR) else None
    if file is not None:
        return f"{file} is a file, where a folder is needed: name another folder, or move the file away."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{parent} does not let you write there: name another folder, or change its permissions."
    if number in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        return "Name another folder."
    free = shutil.disk_usage(parent).free / 2**30
    return (
        f"{free:.1f} GiB are free in {parent}: free some space (or raise a quota or limit), and run the same command "
        "again."
    )


def file_on_the_way(folder: Path) -> Path | None:
    """What is there under the name of a folder, or of one that it lies in, and is no folder; None if nothing is."""
    there = next((p for p in (folder, *folder.parents) if os.path.lexists(p)), None)
    return there if there is not None and not there.is_dir() else None


def refuse_file(folder: Path) -> None:
    """Check that a folder that is to be written to is not a file, nor lies in one, before anything is computed.

    Raises:
        ConfigError: if it is.
    """
    file = file_on_the_way(folder)
    if file is not None:
        raise ConfigError(
            f"{folder} cannot be a folder for output: {file} is a file (or a link that leads nowhere). Name another "
            "folder, or move the file away."
        )


def make_directory(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        CheckpointError: if that is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync_directory(path: Path) -> None:
    """Make renames within a folder last, even if the machine loses power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, text: str) -> None:
    """Write a text file, or leave what was there.

    Raises:
        CheckpointError: if the disk is full, or the folder read-only.
    """
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync_file(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        remove_quietly(temporary)
        raise cannot_write(path, error) from error


def remove_quietly(path: Path) -> None:
    """Remove a file or a folder if it is there; what cannot be removed stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
