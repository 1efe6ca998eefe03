"""The folder for what can be made again: indices of sources that lie in folders we may not write to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """`$CODISTILL_CACHE`, else `$XDG_CACHE_HOME/codistill`, else `~/.cache/codistill`."""
    chosen = os.environ.get("CODISTILL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "codistill"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: readers see the old file, the new one or none.

    On an error the temporary file is removed and the old one stays.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
