"""Write a file to a path or to an address, completely or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codistill.files.remote.store import PATIENCE, check_writable, upload
from codistill.files.urls import is_url
from codistill.files.writing import atomically


@contextmanager
def written(place: str | Path, patience: float = PATIENCE) -> Iterator[Path]:
    """A temporary file that is moved or uploaded to `place` at the end.

    Raises:
        WriteError: see `atomically`.
        ConfigError, StoreError: see `upload`.
    """
    if not is_url(str(place)):
        with atomically(Path(place)) as partial:
            yield partial
        return
    check_writable(str(place))
    with tempfile.TemporaryDirectory(prefix="codistill-") as folder:
        partial = Path(folder) / "object"
        yield partial
        upload(partial, str(place), patience)


def write_text(place: str | Path, text: str, patience: float = PATIENCE) -> None:
    """Write a text in UTF-8 to a path or an address; errors as for `written`."""
    with written(place, patience) as partial:
        partial.write_text(text, encoding="utf-8")
