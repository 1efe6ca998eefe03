"""JSON objects in files: read with errors that name the file, written atomically."""

import json
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.writing import write_atomic

MAX_BYTES = 50_000_000


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        CheckpointError: if the file is missing, damaged or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(
                f"{path}: is too large for a JSON description ({path.stat().st_size:,} bytes)"
            )
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows writes a byte-order mark
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file. The folder is incomplete.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged JSON ({error}). Copy it again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def is_json_object(path: Path, **entries: str) -> bool:
    """Whether a file holds a JSON object with these entries."""
    if not path.is_file():
        return False
    try:
        content = read_json(path)
    except CheckpointError:
        return False
    return all(content.get(key) == value for key, value in entries.items())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, completely or not at all; see `writing.atomically`."""
    write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
