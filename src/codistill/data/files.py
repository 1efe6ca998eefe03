"""Images as single files: a folder that is scanned, a text list, or a manifest; all become a table of paths."""

import os
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import numpy as np

from codistill.data.lists import read_list
from codistill.data.manifest import FILTERS, ODD, filters_text, open_manifest
from codistill.data.names import RowTable, all_paths, path_at, select_rows, table_of_paths
from codistill.data.patterns import selector
from codistill.data.rooted import leaves_root, path_below, relative_name
from codistill.data.source import Source, SourceConfig, expand
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver, walk_files
from codistill.files.stamps import Stamp, stamp_of
from codistill.imaging import read_file


class FileSource(Source):
    """Files under a root, named by a table of relative paths; none outside of it is read."""

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
        """The image's file; DataError if its name leaves the root."""
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


def open_folder(config: SourceConfig) -> FileSource:
    """All images under a folder, folder by folder, each in the order of names."""
    root = expand(config.path, config.name)
    keep = selector(config.include, config.exclude)
    passed = PassedOver()
    names = walk_files(root, IMAGE_SUFFIXES, passed)
    table = table_of_paths(name for name in names if keep is None or keep(name))
    passed.say(f"source {config.name!r}: {root}")
    return FileSource(config, root, RowTable(table), None, passed)


def open_list(config: SourceConfig) -> FileSource:
    """The images that a text file lists, one path per line, in its order; see `lists.py`."""
    path = Path(expand(config.path, config.name))
    keep = selector(config.include, config.exclude)
    root = expand(config.root, config.name) if config.root else str(path.parent)
    names = (name for name in read_list(path, root) if keep is None or keep(name))
    return FileSource(config, root, RowTable(table_of_paths(names)), None)


def open_manifest_source(config: SourceConfig) -> FileSource:
    """The images of a Parquet manifest, in its order.

    Raises:
        DataError: if one lies outside of the root: `config.root`, or what the manifest states.
    """
    path = Path(expand(config.path, config.name))
    table, stated_root = open_manifest(path)
    root = expand(config.root, config.name) if config.root else stated_root
    if table.metadata.get(ODD, b"0") != b"0":
        outside = next((name for name in all_paths(table.table) if relative_name(name, root) is None), None)
        if outside is not None:
            raise leaves_root(f"{path}: {outside!r}", root)
    keep = selector(config.include, config.exclude)
    if table.metadata.get(FILTERS) == filters_text(config.include, config.exclude).encode():
        keep = None  # the manifest was made with these patterns
    rows = select_rows(all_paths(table.table), keep)
    return FileSource(config, root, table, rows)
