"""The index of a folder of tar shards: for every sample its shard, key and members, as one mapped table.

`index.parquet` in the folder is made from the records beside the shards when packing ends. Without it, the table is
made from the records, or from the tar headers of foreign shards (then without checksums), and kept.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codistill.data.cache import replacing
from codistill.data.manifest import mapped, read_parquet
from codistill.data.names import ROWS_PER_CHUNK, RowTable
from codistill.data.shard_format import ShardRecord, read_record, scan_shard, write_record
from codistill.errors import DataError

INDEX_NAME = "index.parquet"
SHARDS = b"codistill.shards"
"""Table metadata: JSON {shard's relative path: size in bytes}."""

SCHEMA = pa.schema(
    [
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("key", pa.string()),
        ("member", pa.list_(pa.string())),
        ("offset", pa.list_(pa.int64())),
        ("size", pa.list_(pa.int64())),
        ("crc32", pa.list_(pa.uint32())),
    ]
)


def shard_files(folder: Path) -> list[Path]:
    """Tar files under a folder, by name."""
    return sorted(folder.rglob("*.tar"))


def index_table(folder: Path, records: Iterable[tuple[Path, ShardRecord]]) -> pa.Table:
    """One row per sample of the shards, in their order."""
    sizes: dict[str, int] = {}
    batches = []
    for shard, record in records:
        name = shard.relative_to(folder).as_posix()
        sizes[name] = record.size
        members = [sample for _, sample in record.samples]
        code = pa.DictionaryArray.from_arrays(
            pa.array([0] * len(members), pa.int32()), pa.array([name], pa.string())
        )
        columns = [
            code,
            pa.array([key for key, _ in record.samples], pa.string()),
            pa.array([[m.name for m in sample] for sample in members], SCHEMA.field("member").type),
            pa.array([[m.offset for m in sample] for sample in members], SCHEMA.field("offset").type),
            pa.array([[m.size for m in sample] for sample in members], SCHEMA.field("size").type),
            pa.array([[m.crc32 for m in sample] for sample in members], SCHEMA.field("crc32").type),
        ]
        batches.append(pa.record_batch(columns, schema=SCHEMA))
    table = pa.Table.from_batches(batches, schema=SCHEMA).unify_dictionaries().combine_chunks()
    return table.replace_schema_metadata({SHARDS: json.dumps(sizes)})


def write_index(folder: Path) -> Path:
    """Write `index.parquet` from the records of all shards in a folder.

    Raises:
        DataError: if a shard has no record: it is unfinished.
    """
    records = []
    for shard in shard_files(folder):
        record = read_record(shard)
        if record is None:
            raise DataError(
                f"{shard}: unfinished or damaged: no record beside it. Pack again; finished ones stay."
            )
        records.append((shard, record))
    if not records:
        raise DataError(f"{folder}: no .tar files here")
    path = folder / INDEX_NAME
    with replacing(path) as partial:
        pq.write_table(
            index_table(folder, records), partial, row_group_size=ROWS_PER_CHUNK, compression="zstd"
        )
    return path


def record_shards(
    folder: Path, *, workers: int = 4, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Read shards that were made elsewhere once, whole: write the checksums beside each, and the index.

    Args:
        folder: of the .tar files.
        workers: shards read at the same time.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: if there are none, or one is not a whole tar file.
    """
    shards = shard_files(folder)
    with ThreadPoolExecutor(workers) as pool:
        for number, _ in enumerate(pool.map(_record, shards)):
            if progress is not None:
                progress(number + 1, len(shards))
    return write_index(folder)


def _record(shard: Path) -> None:
    if read_record(shard) is None:
        write_record(shard, scan_shard(shard, hashed=True))


def open_index(folder: Path) -> RowTable:
    """The mapped index of a folder of shards, made where it is missing.

    Raises:
        DataError: if there are no shards, or one is missing, damaged, or of another size than indexed.
    """
    shards = shard_files(folder)
    found = {shard.relative_to(folder).as_posix(): shard.stat().st_size for shard in shards}
    if (folder / INDEX_NAME).exists():
        table = mapped(folder / INDEX_NAME, _read_index)
        _check_sizes(folder, table, found)
        return table
    if not shards:
        raise DataError(f"{folder}: no .tar files here")
    records = [shard.with_name(f"{shard.name}.json").exists() for shard in shards]
    stamp = hashlib.sha256(json.dumps([found, records]).encode()).hexdigest()
    return mapped(folder / "index", lambda _: _scan(folder, shards), stamp)


def _scan(folder: Path, shards: list[Path]) -> pa.Table:
    return index_table(folder, ((s, read_record(s) or scan_shard(s, hashed=False)) for s in shards))


def _read_index(path: Path) -> pa.Table:
    file = read_parquet(path)
    if not set(SCHEMA.names) <= set(file.schema_arrow.names):
        raise DataError(
            f"{path}: an index has the columns {', '.join(SCHEMA.names)}; this has {', '.join(file.schema_arrow.names)}"
        )
    try:
        table = file.read(columns=SCHEMA.names).cast(SCHEMA)
        table.validate(full=True)
        _check_lists(path, table)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged index: {error}") from error
    metadata = {SHARDS: (file.schema_arrow.metadata or {}).get(SHARDS, b"{}")}
    return table.unify_dictionaries().replace_schema_metadata(metadata)


def _check_lists(path: Path, table: pa.Table) -> None:
    """Raise DataError where a value is missing or a sample's lists differ in length."""
    missing = any(column.null_count for column in table.columns)
    for batch in table.to_batches():
        lists = [batch.column(name) for name in ("member", "offset", "size", "crc32")]
        lengths = [np.diff(column.offsets.to_numpy()) for column in lists]
        missing = missing or any(not np.array_equal(lengths[0], other) for other in lengths[1:])
        missing = missing or any(column.flatten().null_count for column in lists[:3])
    if missing:
        raise DataError(f"{path}: damaged index: values are missing. Make it again.")


def _check_sizes(folder: Path, table: RowTable, found: dict[str, int]) -> None:
    try:
        wanted = dict(json.loads(table.metadata.get(SHARDS, b"{}")))
    except ValueError as error:
        raise DataError(f"{folder / INDEX_NAME}: damaged index: {error}. Make it again.") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{folder}: {len(missing)} of {len(wanted)} shards are missing, first {missing[0]!r}")
    for name, size in wanted.items():
        if found[name] != size:
            raise DataError(
                f"{folder / name}: damaged: {found[name]} bytes where {size} were written. Make the shard again."
            )
