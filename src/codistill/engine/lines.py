"""JSON-lines files that a resumed run continues exactly: appended to, and truncated to their size at a checkpoint."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codistill.files.writing import cannot_write


def json_line(values: Mapping[str, Any]) -> str:
    """Format one JSON object. NaN and infinities, which JSON does not have, become null."""
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
    return json.dumps(clean, ensure_ascii=False, allow_nan=False)


def append_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Append objects, one per line.

    Raises:
        CheckpointError: if the disk is full, or the file is read-only.
    """
    text = "".join(json_line(values) + "\n" for values in objects)
    if not text:
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def size_of(path: Path) -> int:
    """Return a file's size in bytes (0 if missing), after syncing its content to the disk."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut_back(path: Path, size: int) -> None:
    """Truncate a file to the size it had earlier.

    Raises:
        CheckpointError: if the file is read-only.
    """
    if not path.exists() or path.stat().st_size <= size:
        return
    try:
        os.truncate(path, size)
    except OSError as error:
        raise cannot_write(path, error) from error


def cut_after_step(path: Path, step: int) -> int | None:
    """Keep the complete lines up to a step and drop the rest.

    Returns:
        The step of the last line that is kept; None if there is none.

    Raises:
        CheckpointError: if the file is read-only.
    """
    if not path.exists():
        return None
    size, last = 0, None
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            of_line = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            break
        if of_line > step or not line.endswith(b"\n"):
            break
        size, last = size + len(line), of_line
    cut_back(path, size)
    return last
