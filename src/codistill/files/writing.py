"""Write files and folders completely or not at all: under a temporary name in the same folder, synced, then renamed.

In: a path and its content. Out: that content on the disk, or the old content and a `WriteError` that names the place
that cannot be written, the reason, and what to do.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from codistill.errors import ConfigError, WriteError
from codistill.files.disk import free_space, nearest_folder, size_text

TEMPORARY = ".tmp-"
"""Prefix of temporary names."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Start of an address (`s3://BUCKET/KEY`) that was made a path, which has one slash fewer."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, a quota, and a limit of a file's size."""


def cannot_write(path: Path, error: Exception) -> WriteError:
    """Make the error for a full disk, a read-only folder, or a path through a file."""
    while isinstance(error, WriteError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the error of a file within `path`, with a temporary name
    reason, advice = str(error), ""
    if isinstance(error, OSError):
        reason = error.strerror or reason
        advice = _other_place(path, error.errno)
    if not advice:
        free, parent = free_space(path)
        reason += f"; {size_text(free)} are free in {parent}"
        advice = "Free some space (or raise a quota or limit), and run the same command again."
    return WriteError(
        f"{path}: cannot be written ({reason}). {advice} Nothing that was already saved is lost."
    )


def _other_place(path: Path, number: int | None) -> str:
    """What to do if the disk is not full; empty if it is, or if the reason is unknown."""
    parent = nearest_folder(path)
    file = file_on_the_way(path) if number in (errno.EEXIST, errno.ENOTDIR) else None
    if file is not None:
        return f"{file} is a file, where a folder is needed: name another folder, or move the file away."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{parent} does not let you write there: name another folder, or change its permissions."
    if number == errno.EISDIR:
        return f"{path} is a folder: name a file."
    return "" if number is None or number in _FULL else "Name another folder."


def file_on_the_way(folder: Path) -> Path | None:
    """The file in the place of a folder, or of a folder above it; None if there is none."""
    there = next((p for p in (folder, *folder.parents) if os.path.lexists(p)), None)
    return there if there is not None and not there.is_dir() else None


def _refuse_address(path: Path) -> None:
    if _ADDRESS.match(str(path)):
        raise ConfigError(
            f"{str(path).replace(':/', '://', 1)} is an address: this output must be on this machine. Name a path, "
            "and copy it to the store afterwards."
        )


def refuse_file(folder: Path) -> None:
    """Check, before anything is computed, that an output folder is neither an address, nor a file, nor below one.

    Raises:
        ConfigError: if it is.
    """
    _refuse_address(folder)
    file = file_on_the_way(folder)
    if file is not None:
        raise ConfigError(
            f"{folder} cannot be a folder for output: {file} is a file (or a link that leads nowhere). Name another "
            "folder, or move the file away."
        )


def check_writable(folder: Path) -> None:
    """Check, before anything is computed, that files can be written into a folder, which need not exist yet.

    Raises:
        ConfigError: if it is a file, or below one.
        WriteError: if the disk or the permissions forbid it.
    """
    refuse_file(folder)
    trial = temporary_name(nearest_folder(folder) / "trial")
    try:
        trial.mkdir()
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        remove_quietly(trial)


def check_file(path: Path) -> None:
    """Check, before anything is computed, that a file can be written.

    Raises:
        ConfigError: if it is a folder, or below a file.
        WriteError: if the disk or the permissions forbid it.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file")
    check_writable(path.parent)


def make_directory(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        ConfigError: if it is an address.
        WriteError: if that is not possible.
    """
    _refuse_address(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync(path: Path) -> None:
    """Make a file's content, or the renames within a folder, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that only this process uses, with a suffix that no listing finds."""
    name = path.name.encode()[:200].decode(errors="ignore")  # names of up to 255 bytes must stay possible
    return path.with_name(f"{TEMPORARY}{name}-{os.getpid()}")


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; at the end the file is synced and renamed to `path`.

    The folder is created. Readers see the old file, the new one or none. After an error the old file is still there.

    Raises:
        ConfigError: if `path` is an address.
        WriteError: if the disk is full, or the folder cannot be written.
    """
    _refuse_address(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error
    finally:
        remove_quietly(temporary)


@contextmanager
def folder_atomically(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder that replaces `folder` at the end; the old folder is then removed.

    Raises:
        ConfigError: if `folder` is an address.
        WriteError: if that fails; the old folder is still there.
    """
    _refuse_address(folder)
    building = temporary_name(folder)
    remove_quietly(building)
    try:
        building.mkdir(parents=True)
        yield building
        replace_folder(building, folder)
    except (OSError, WriteError) as error:
        raise cannot_write(folder, error) from error
    finally:
        remove_quietly(building)


def replace_folder(new: Path, folder: Path) -> None:
    """Move `new` to `folder`. An old folder is first moved aside (`.old-NAME`) and finally removed.

    Raises:
        OSError: if that fails; the old folder is restored.
    """
    old = folder.with_name(f".old-{folder.name}")
    if folder.exists():
        remove_quietly(old)
        folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise
    sync(folder.parent)
    remove_quietly(old)


def allocate(path: Path, created: bool) -> None:
    """Take the disk space of a file that is mapped: a write to one without it kills the process when the disk is full.

    Args:
        path: of the file.
        created: whether it is new; it is then removed if there is too little space.

    Raises:
        OSError: if there is too little space.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # not on this file system
            return
        if created:
            path.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, text: str) -> None:
    """Write a text file in UTF-8; see `atomically`."""
    with atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes to a file; see `atomically`."""
    with atomically(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files (of one name, or all) of killed processes, in a folder to which nobody else writes."""
    for path in folder.glob(f"{TEMPORARY}{name}"):
        remove_quietly(path)


def remove_quietly(path: Path) -> None:
    """Remove a file or a folder if it exists; failures are ignored."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
