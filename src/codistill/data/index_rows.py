"""Rows of an index of shards: one per sample, with its shard, key and members; from records or from Parquet."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codistill.data.manifest import read_parquet
from codistill.data.shard_format import IMAGE_EXTENSIONS, ShardRecord
from codistill.errors import DataError

SHARDS = b"codistill.shards"
"""Table metadata: JSON {shard's relative path: size in bytes}."""
PASSED = b"codistill.passed"
"""Table metadata: JSON {shard: [[kind, count, first name], …]}: content of a shard that is not an image."""

Passed = list[list[Any]]
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


def index_table(folder: Path, records: Iterable[tuple[Path, ShardRecord]]) -> pa.Table:
    """Make one row for each sample of the shards, in their order."""
    sizes: dict[str, int] = {}
    passed: dict[str, Passed] = {}
    batches = []
    for shard, record in records:
        name = shard.relative_to(folder).as_posix()
        sizes[name] = record.size
        if found := _passed_of(record):
            passed[name] = found
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
    metadata = {SHARDS: json.dumps(sizes)} | ({PASSED: json.dumps(passed)} if passed else {})
    return table.replace_schema_metadata(metadata)


def _passed_of(record: ShardRecord) -> Passed:
    found: Passed = [list(one) for one in record.passed]
    if record.skipped:
        found.append(["images that were left out when packed", len(record.skipped), record.skipped[0][0]])
    return found


def read_index(path: Path) -> pa.Table:
    """Read the rows of `index.parquet`.

    Raises:
        DataError: if it is damaged or has other columns.
    """
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
    stated = file.schema_arrow.metadata or {}
    metadata = {name: stated.get(name, b"{}") for name in (SHARDS, PASSED)}
    return table.unify_dictionaries().replace_schema_metadata(metadata)


def _check_lists(path: Path, table: pa.Table) -> None:
    """Raise DataError if a value is missing or a sample's lists differ in length."""
    missing = any(column.null_count for column in table.columns)
    for batch in table.to_batches():
        lists = [batch.column(name) for name in ("member", "offset", "size", "crc32")]
        lengths = [np.diff(column.offsets.to_numpy()) for column in lists]
        missing = missing or any(not np.array_equal(lengths[0], other) for other in lengths[1:])
        missing = missing or any(column.flatten().null_count for column in lists[:3])
    if missing:
        raise DataError(f"{path}: damaged index: values are missing. Make it again.")


def stored(metadata: Mapping[bytes, bytes], name: bytes, where: object) -> dict[str, Any]:
    """Read a JSON object from a table's metadata; empty if it is missing.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return dict(json.loads(metadata.get(name, b"{}")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: damaged index: {error}. Make it again.") from error


def by_shard(table: pa.Table) -> dict[str, pa.Table]:
    """Group the rows by shard, keeping their order."""
    if not table.num_rows:
        return {}
    column = table.column("shard").unify_dictionaries().combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    codes, names = array.indices.to_numpy(), array.dictionary.to_pylist()
    order = np.argsort(codes, kind="stable")
    values, starts = np.unique(codes[order], return_index=True)
    pieces = {}
    for code, rows in zip(values.tolist(), np.split(order, starts[1:]), strict=True):
        together = rows[-1] - rows[0] + 1 == len(rows)
        pieces[names[code]] = table.slice(rows[0], len(rows)) if together else table.take(pa.array(rows))
    return pieces


def same_layout(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables name the same files at the same offsets; checksums are not compared."""
    columns = ("key", "member", "offset", "size")
    return all(first.column(name).to_pylist() == second.column(name).to_pylist() for name in columns)


def usable(piece: pa.Table) -> tuple[pa.Table, Passed]:
    """Return the rows of a shard that have an image, and notes on the others."""
    keys = piece.column("key")
    lists = piece.column("member").combine_chunks()
    rows = np.repeat(np.arange(piece.num_rows), np.diff(lists.offsets.to_numpy()))
    names = pc.call_function("utf8_lower", [lists.flatten()])
    images = pc.call_function("is_in", [names], pc.SetLookupOptions(pa.array(sorted(IMAGE_EXTENSIONS))))
    counts = np.bincount(rows[images.to_numpy(zero_copy_only=False).astype(bool)], minlength=piece.num_rows)
    said: Passed = []

    def note(kind: str, chosen: np.ndarray) -> None:
        if chosen.size:
            key, members = keys[int(chosen[0])].as_py(), lists[int(chosen[0])].as_py()
            said.append([kind, int(chosen.size), f"{key}: {', '.join(members)}"])

    note("samples without an image (JPG, PNG, … after the first dot)", np.flatnonzero(counts == 0))
    note("further images of samples that have several; the first is taken", np.flatnonzero(counts > 1))
    if pc.call_function("count_distinct", [keys]).as_py() < piece.num_rows:
        _, first = np.unique(keys.to_numpy(zero_copy_only=False).astype(str), return_index=True)
        again = np.setdiff1d(np.arange(piece.num_rows), first)
        said.append(
            [
                "samples of a repeated name; all are used",
                int(again.size),
                keys[int(again[0])].as_py(),
            ]
        )
    return (piece if (counts > 0).all() else piece.filter(pa.array(counts > 0))), said
