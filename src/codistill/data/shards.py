"""Images in tar shards as a source: any sample by number, through the index. Damaged samples are detected."""

import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from codistill.data.index_rows import stored
from codistill.data.names import ROWS_PER_CHUNK, RowTable, select_rows
from codistill.data.patterns import selector
from codistill.data.rooted import path_below
from codistill.data.shard_format import image_member
from codistill.data.shard_index import STATES, open_index, passed_over
from codistill.data.source import Source, SourceConfig, expand
from codistill.errors import DataError
from codistill.files.listing import PassedOver
from codistill.files.stamps import Stamp

_OPEN_FILES = 32
_DOT = "%2E"
"""Escape for a dot within a key, so that the first dot of a member's name ends the key."""


def encode_key(stem: str) -> str:
    """Make a key from an image's relative path without its extension: dots in the base name are escaped."""
    folder, slash, base = stem.rpartition("/")
    return f"{folder}{slash}{base.replace('.', _DOT)}"


class ShardSource(Source):
    """Samples of tar shards, read by offset and checked against their checksum."""

    def __init__(
        self,
        config: SourceConfig,
        folder: str,
        table: RowTable,
        rows: np.ndarray | None,
        passed: PassedOver | None = None,
    ) -> None:
        super().__init__(config, passed)
        self.folder = folder
        self._table = table
        self._rows = rows
        self._files: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table) if self._rows is None else len(self._rows)

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)} in source {self.config.name!r}")
        return index if self._rows is None else int(self._rows[index])

    def name_of(self, index: int) -> str:
        return _name(self._table, self._row(index))

    def names(self) -> Iterator[str]:
        names = sample_names(self._table)
        if self._rows is None:
            return names
        wanted = np.zeros(len(self._table), dtype=bool)
        wanted[self._rows] = True
        return compress(names, wanted)

    def files_of(self, index: int) -> tuple[Path, ...]:
        return (Path(self.folder) / self._table.value("shard", self._row(index)),)

    def members_of(self, index: int) -> list[str]:
        """Names of the files of a sample: `jpg`, `depth.png`, ..."""
        return self._table.value("member", self._row(index)) or []

    def read(self, index: int) -> bytes:
        member = image_member(self.members_of(index))
        if member is None:
            raise DataError(f"{self._where(index)}: no image among {self.members_of(index)}")
        return self.read_member(index, member)

    def read_member(self, index: int, member: str) -> bytes:
        shard, offset, size, crc = self._place(index, member)
        try:
            file = self._file(shard)
            inside = offset >= 0 and 0 <= size <= os.fstat(file).st_size - offset
            data = os.pread(file, size, offset) if inside else b""
        except OSError as error:
            raise DataError(f"{self._where(index)}: cannot be read: {error}") from error
        if len(data) != size or (crc is not None and zlib.crc32(data) != crc):
            raise DataError(f"{self._where(index)}: damaged shard: the checksum of {member!r} is another")
        if crc is None and self.stamp_of(index) != _stamp(os.fstat(file)):
            raise DataError(f"{self._where(index)}: the shard was changed since it was opened; start again")
        return data

    def _place(self, index: int, member: str) -> tuple[str, int, int, int | None]:
        """Shard, offset, size and CRC-32 of a sample's file; DataError if there is no such file."""
        row = self._row(index)
        members = self.members_of(index)
        if member not in members:
            raise DataError(f"{self._where(index)}: no member {member!r}; there are {', '.join(members)}")
        at = members.index(member)
        offset, size, crc = (self._table.value(column, row)[at] for column in ("offset", "size", "crc32"))
        return self._table.value("shard", row), offset, size, crc

    @cached_property
    def _states(self) -> dict[str, list[Any]]:
        return stored(self._table.metadata, STATES, self._table.path)

    def stamp_of(self, index: int) -> Stamp | None:
        """The stamp of the image's shard when it was indexed."""
        state = self._states.get(self._table.value("shard", self._row(index)))
        return None if state is None else Stamp(*state[:2])

    def _where(self, index: int) -> str:
        shard = self._table.value("shard", self._row(index))
        return f"{self.name_of(index)} in {Path(self.folder) / shard}"

    def _file(self, shard: str) -> int:
        """File descriptor of a shard; the last few stay open."""
        if shard in self._files:
            self._files.move_to_end(shard)
        else:
            self._files[shard] = os.open(path_below(shard, self.folder), os.O_RDONLY)
            if len(self._files) > _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        return self._files[shard]

    def close(self) -> None:
        """Close the open shards. They are opened again when they are read."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": OrderedDict()}


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns)


def _name(table: RowTable, row: int) -> str:
    return _joined(table.value("key", row), table.value("member", row) or [])


def _joined(key: str, members: list[str]) -> str:
    member = image_member(members)
    return f"{key.replace(_DOT, '.')}.{member}" if member else key.replace(_DOT, ".")


def open_shards(config: SourceConfig) -> ShardSource:
    """Open the samples of a folder of tar shards, shard by shard."""
    folder = Path(expand(config.path, config.name))
    table = open_index(folder)
    rows = select_rows(sample_names(table), selector(config.include, config.exclude))
    passed = passed_over(table)
    passed.say(f"source {config.name!r}: {folder}")
    return ShardSource(config, str(folder), table, rows, passed)


def sample_names(table: RowTable) -> Iterator[str]:
    """The names of an index's samples, in its order."""
    for batch in table.table.select(["key", "member"]).to_batches(max_chunksize=ROWS_PER_CHUNK):
        for key, members in zip(
            batch.column("key").to_pylist(), batch.column("member").to_pylist(), strict=True
        ):
            yield _joined(key, members)
