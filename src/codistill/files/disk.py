"""Check the free space on a disk before output is computed."""

import os
import shutil
from pathlib import Path

from codistill.errors import ConfigError

MARGIN = 2**30
"""Number of bytes that must stay free."""


def size_text(count: float) -> str:
    """Format a number of bytes with a unit up to GiB, e.g. `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest existing folder above it."""
    parents = (path, *path.absolute().parents)
    return next((p for p in parents if os.path.isdir(p)), Path())  # noqa: PTH112  (a name may be too long to ask)


def free_space(path: Path) -> tuple[int, Path]:
    """Free bytes on the disk of a path, and the nearest existing folder."""
    parent = nearest_folder(path)
    return shutil.disk_usage(parent).free, parent


def check_room(what: str, need: int, folder: Path, advice: str, *, rewritten: bool = False) -> str:
    """Check that an output fits on the disk; return a sentence on its size.

    Args:
        what: name of the output, in the plural.
        need: its size in bytes.
        folder: where it is written; need not exist.
        advice: what to do if there is too little space.
        rewritten: count the folder's present content as free.

    Raises:
        ConfigError: if fewer than `need` plus `MARGIN` bytes are free.
    """
    free, parent = free_space(folder)
    if rewritten and folder.is_dir():
        free += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text = f"{what} need {size_text(need)}; {size_text(free)} are free in {parent}"
    if need + MARGIN > free:
        raise ConfigError(f"{text}: too little ({size_text(MARGIN)} must stay free). {advice}")
    return text
