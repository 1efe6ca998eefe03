"""Disk need, said before anything is written, and refused where it is not free."""

import shutil
from pathlib import Path

from codistill.errors import ConfigError

MARGIN = 2**30
"""Bytes of the disk that stay free."""


def check_room(what: str, need: int, folder: Path, advice: str, *, whole: bool = True) -> str:
    """What will be written, as a sentence.

    Args:
        what: will be, e.g. `features of 120 views`.
        need: bytes.
        folder: where to; it need not exist.
        advice: what to do where there is no room.
        whole: what lies in the folder already is part of the need.

    Raises:
        ConfigError: if it is not free.
    """
    parent = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), Path())
    there = (
        sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if whole and folder.is_dir() else 0
    )
    free = shutil.disk_usage(parent).free + there
    text = f"{what} need {size_text(need)} in {folder} ({size_text(free)} are free)"
    if need + MARGIN > free:
        raise ConfigError(f"{text}: too little ({size_text(MARGIN)} must stay free). {advice}")
    return text


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
