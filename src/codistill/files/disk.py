"""Room on the disk: the size of an output in, a sentence about it out, or an error before anything is done."""

import os
import shutil
from pathlib import Path

from codistill.errors import ConfigError

MARGIN = 2**30
"""Bytes that must stay free."""


def size_text(count: float) -> str:
    """Bytes as text with a unit up to GiB, e.g. `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def nearest_folder(path: Path) -> Path:
    """The path, or the nearest existing folder above it."""
    parents = (path, *path.absolute().parents)
    return next((p for p in parents if os.path.isdir(p)), Path())  # noqa: PTH112  (a name may be too long to ask)


def free_space(path: Path) -> tuple[int, Path]:
    """Free bytes for a path, and the nearest existing folder."""
    parent = nearest_folder(path)
    return shutil.disk_usage(parent).free, parent


def check_room(what: str, need: int, folder: Path, advice: str, *, rewritten: bool = False) -> str:
    """A sentence on the size of an output.

    Args:
        what: its name, in the plural.
        need: bytes.
        folder: its place; need not exist.
        advice: what to do if there is too little room.
        rewritten: the folder's present content counts as free.

    Raises:
        ConfigError: unless that and `MARGIN` are free.
    """
    free, parent = free_space(folder)
    if rewritten and folder.is_dir():
        free += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text = f"{what} need {size_text(need)}; {size_text(free)} are free in {parent}"
    if need + MARGIN > free:
        raise ConfigError(f"{text}: too little ({size_text(MARGIN)} must stay free). {advice}")
    return text
