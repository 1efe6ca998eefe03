"""`codistill study tables DIR`."""

from pathlib import Path


def write_study_tables(folder: Path, out: Path | None, command: list[str]) -> int:
    return 0
