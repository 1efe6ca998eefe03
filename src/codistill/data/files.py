"""Images as single files below a root, named by a table of their paths, which `file_openers.py` makes."""

import os
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import numpy as np

from codistill.data.names import RowTable, all_paths, path_at
from codistill.data.rooted import path_below, relative_name
from codistill.data.source import Source, SourceConfig
from codistill.files.listing import PassedOver
from codistill.files.stamps import Stamp, stamp_of
from codistill.imaging import read_file


class FileSource(Source):
    """Files below a root, named by a table of relative paths. Files outside of the root are never read."""

    def __init__(
        self,
        config: SourceConfig,
        root: str,
        table: RowTable,
        rows: np.ndarray | None,
        passed: PassedOver | None = None,
    ) -> None:
        super().__init__(config, passed)
        self.root = root
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._table) if self._rows is None else len(self._rows)

    def name_of(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)} in source {self.config.name!r}")
        name = path_at(self._table, index if self._rows is None else int(self._rows[index]))
        return name if not name.startswith("/") else relative_name(name, self.root) or name

    def names(self) -> Iterator[str]:
        names = all_paths(self._table.table)
        if self._rows is not None:
            wanted = np.zeros(len(self._table), dtype=bool)
            wanted[self._rows] = True
            names = compress(names, wanted)
        return (
            name if not name.startswith("/") else relative_name(name, self.root) or name for name in names
        )

    def path_of(self, index: int) -> str:
        """The image's file; DataError if its name leads out of the root."""
        return path_below(self.name_of(index), self.root)

    def files_of(self, index: int) -> tuple[Path, ...]:
        return (Path(self.path_of(index)),)

    def read(self, index: int) -> bytes:
        return read_file(self.path_of(index))

    def stamp_of(self, index: int) -> Stamp | None:
        try:
            return stamp_of(self.path_of(index))
        except (OSError, ValueError):
            return None

    def read_member(self, index: int, member: str) -> bytes:
        return read_file(f"{os.path.splitext(self.path_of(index))[0]}.{member}")  # noqa: PTH122
