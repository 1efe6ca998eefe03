"""Room on the disk: what is to be written in, a sentence about it out, or a refusal before anything is done."""

import os
import shutil
from pathlib import Path

from codistill.errors import ConfigError

MARGIN = 2**30
"""Bytes that must stay free."""


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def nearest_folder(path: Path) -> Path:
    """The path, or the first folder above it, that is there."""
    parents = (path, *path.absolute().parents)
    return next((p for p in parents if os.path.isdir(p)), Path())  # noqa: PTH112  (a name may be too long to ask)


def free_space(path: Path) -> tuple[int, Path]:
    """Free bytes where a path is or would be, and the nearest folder that is there."""
    parent = nearest_folder(path)
    return shutil.disk_usage(parent).free, parent


def check_room(what: str, need: int, folder: Path, advice: str, *, rewritten: bool = False) -> str:
    """What is to be written, as a sentence.

    Args:
        what: takes room, in the plural.
        need: bytes of it.
        folder: where it goes; it need not be there.
        advice: what to do where the room is too little.
        rewritten: what is in the folder now counts as free.

    Raises:
        ConfigError: if it is not free, and `MARGIN` besides.
    """
    free, parent = free_space(folder)
    if rewritten and folder.is_dir():
        free += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    text = f"{what} need {size_text(need)}; {size_text(free)} are free in {parent}"
    if need + MARGIN > free:
        raise ConfigError(f"{text}: too little ({size_text(MARGIN)} must stay free). {advice}")
    return text
