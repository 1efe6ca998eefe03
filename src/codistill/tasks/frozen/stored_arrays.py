"""A folder of memory-mapped arrays that fills up view by view: what it is of, and how far it is.

DIR/cache.json     the key: what the arrays hold; another key is another folder
    done.json      how many views are written
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codistill.engine.files import cannot_write, write_atomic
from codistill.errors import ConfigError

KEY, DONE = "cache.json", "done.json"
ArrayFiles = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shape and number type by file name."""


def claim(folder: Path, key: dict[str, Any], what: str, option: str = "--cache") -> None:
    """Write down what a folder of stored arrays holds, or check that it is the same.

    Args:
        folder: which exists.
        key: what it holds.
        what, option: for the error: how to call that, and where another folder is named.

    Raises:
        ConfigError: if it holds something else.
    """
    path = folder / KEY
    text = json.dumps(key, indent=1, sort_keys=True) + "\n"
    if not path.exists():
        write_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        old, new = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        raise ConfigError(
            f"{folder} holds {what} of something else (different: {', '.join(changed)}). "
            f"Remove it, or name another folder ({option})."
        )


def stored_views(folder: Path, files: ArrayFiles, views: int) -> int:
    """How many of the views are on disk; 0 if a file is missing or of another length."""
    path = folder / DONE
    complete = all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == int(np.prod(size)) * np.dtype(dtype).itemsize
        for name, (size, dtype) in files.items()
    )
    if not complete or not path.exists():
        return 0
    return min(int(json.loads(path.read_text(encoding="utf-8"))["views"]), views)


def open_array(path: Path, size: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """A stored array to write on, made if it is not there.

    Raises:
        DataError: if it cannot be.
    """
    try:
        return np.memmap(path, dtype=dtype, mode="r+" if path.exists() else "w+", shape=size)
    except OSError as error:
        raise cannot_write(path, error) from error
