"""Tar shards in a store as a source: members are read by range requests, at the offsets given by the index.

Only `index.parquet` is read when the source is opened: no listing, and no request per shard. The CRC-32 of each member,
also from the index, reveals a cut or damaged answer, a shard that has changed since it was indexed, and outdated data
in the cache.
"""

import json
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codistill.data.index_rows import PASSED, SHARDS, by_shard, read_index, stored, usable
from codistill.data.manifest import table_of_object
from codistill.data.names import RowTable, select_rows
from codistill.data.patterns import selector
from codistill.data.rooted import path_below
from codistill.data.shard_format import image_member
from codistill.data.shard_index import INDEX_NAME, passed_over
from codistill.data.shards import ShardSource, sample_names
from codistill.data.source import SourceConfig
from codistill.errors import DataError
from codistill.files.listing import PassedOver
from codistill.files.remote.config import RemoteConfig
from codistill.files.remote.reader import ObjectReader, identity
from codistill.files.remote.retrying import MissingObjectError
from codistill.files.stamps import Stamp
from codistill.files.urls import join_url


class RemoteShards(ShardSource):
    """Samples of the tar shards below an address."""

    reads_ahead = True

    def __init__(
        self,
        config: SourceConfig,
        folder: str,
        table: RowTable,
        rows: np.ndarray | None,
        remote: RemoteConfig,
        passed: PassedOver | None = None,
    ) -> None:
        super().__init__(config, folder, table, rows, passed)
        self._reader = ObjectReader(remote)

    @property
    def index_bytes(self) -> int:
        """Size of the mapped index on disk, which all processes of a machine share."""
        return 0 if self._table.path is None else self._table.path.stat().st_size

    def files_of(self, index: int) -> tuple[Path, ...]:
        return ()

    def stamp_of(self, index: int) -> Stamp | None:
        """The image's size and checksum."""
        member = image_member(self.members_of(index))
        if member is None:
            return None
        _, _, size, crc = self._place(index, member)
        return Stamp(size, crc or 0)

    def read_member(self, index: int, member: str) -> bytes:
        return self._reader.ahead.take((index, member), partial(self._read, index, member))

    def read_ahead(self, indices: Iterable[int]) -> None:
        for index in indices:
            member = image_member(self.members_of(index))
            if member is not None:
                self._reader.ahead.begin((index, member), partial(self._read, index, member))

    def _read(self, index: int, member: str) -> bytes:
        shard, offset, size, crc = self._place(index, member)
        url = path_below(shard, self.folder)
        return self._reader.range(url, offset, size, crc or 0, identity(url, self._sizes.get(shard)))

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return stored(self._table.metadata, SHARDS, self._table.path)

    def _where(self, index: int) -> str:
        return f"{self.name_of(index)} in {self.folder}/{self._table.value('shard', self._row(index))}"


def open_remote_shards(config: SourceConfig, url: str, remote: RemoteConfig) -> RemoteShards:
    """Open the samples of the shards below an address, shard by shard in the order of their names.

    Raises:
        DataError: if there is no index, or it is damaged or lacks checksums.
    """
    index = join_url(url, INDEX_NAME)
    try:
        table = table_of_object(index, partial(_indexed, index), remote.patience)
    except MissingObjectError:
        raise DataError(
            f"source {config.name!r}: {index} is missing, which says where images lie in the shards. Make it with "
            f"`codistill index {config.name} --root {url}`, which reads every shard once."
        ) from None
    rows = select_rows(sample_names(table), selector(config.include, config.exclude))
    passed = passed_over(table)
    passed.say(f"source {config.name!r}: {url}")
    return RemoteShards(config, url, table, rows, remote, passed)


def _indexed(index: str, copy: Path) -> pa.Table:
    """Read the usable rows of an index, ordered by shard."""
    table = read_index(copy)
    sums = pc.call_function("list_flatten", [table.column("crc32")])
    if sums.null_count:
        raise DataError(
            f"{index}: lacks checksums, without which nothing read from a store is certain. Make it again."
        )
    kept, said = usable(_ordered(table))
    metadata = dict(table.schema.metadata or {})
    passed = stored(metadata, PASSED, index)
    if said:
        passed[INDEX_NAME] = [*passed.get(INDEX_NAME, []), *said]
    return kept.combine_chunks().replace_schema_metadata({**metadata, PASSED: json.dumps(passed)})


def _ordered(table: pa.Table) -> pa.Table:
    """Order the rows by shard, in the order in which a local copy would be listed."""
    column = table.column("shard").combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    names = array.dictionary.to_pylist()
    places = np.empty(len(names), dtype=np.int64)
    places[sorted(range(len(names)), key=lambda code: PurePosixPath(names[code]))] = np.arange(len(names))
    if (np.diff(places[array.indices.to_numpy()]) >= 0).all():
        return table
    pieces = by_shard(table)
    return pa.concat_tables([pieces[name] for name in sorted(pieces, key=PurePosixPath)]).unify_dictionaries()
