"""Files that are either whole or not there: written beside their place, synced to the disk, then renamed."""

import hashlib
import os
import shutil
from pathlib import Path

from codistill.errors import CheckpointError


def cannot_write(path: Path, error: Exception) -> CheckpointError:
    """The error for a full disk, a read-only folder, a path through a file."""
    parent = next((p for p in (path, *path.parents) if p.is_dir()), Path())
    free = shutil.disk_usage(parent).free / 2**30
    return CheckpointError(
        f"{path} could not be written: {error}. {free:.1f} GiB are free in {parent}. Nothing that was already "
        "saved is lost; free some space or fix the permissions, and run the same command again."
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
