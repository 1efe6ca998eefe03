"""The index of a folder of tar shards: the shard, key and members of every sample, as one mapped table.

`index.parquet` in the folder is made from the records beside the shards when packing ends. If there is none, the table
is made from the records, or from the tar headers of shards from elsewhere (then without checksums), and kept. It
contains the size and time of change of every shard, so only changed shards are read again.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codistill.data.index_rows import (
    PASSED,
    SCHEMA,
    SHARDS,
    Passed,
    by_shard,
    index_table,
    read_index,
    same_layout,
    stored,
    usable,
)
from codistill.data.manifest import mapped
from codistill.data.names import ROWS_PER_CHUNK, RowTable
from codistill.data.shard_format import (
    ShardRecord,
    read_record,
    record_path,
    scan_shard,
    write_record,
)
from codistill.data.tar_members import has_end
from codistill.errors import DataError
from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.listing import PassedOver, list_files, say
from codistill.files.stamps import stamp_of
from codistill.files.writing import atomically

INDEX_NAME = "index.parquet"
STATES = b"codistill.states"
"""Metadata of a mapped table: JSON {shard: [size, time of change, [size, time of change] of its record, or null]}."""

_AGAIN = "`codistill index NAME --root FOLDER` reads the shards and makes the index again."
States = dict[str, list[Any]]


def shard_files(folder: Path) -> list[Path]:
    """List the tar files below a folder, by name; log unusable files."""
    return list_files(folder, (".tar",), deep=True)


def write_index(folder: Path) -> Path:
    """Write `index.parquet` from the records of all shards in a folder.

    Raises:
        DataError: if a shard has no record, which means that it is unfinished.
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
        raise _no_shards(folder)
    return write_rows(index_table(folder, records), folder / INDEX_NAME)


def write_rows(table: pa.Table, path: Path) -> Path:
    """Write the rows of an index as Parquet, atomically."""
    with atomically(path) as partial:
        pq.write_table(table, partial, row_group_size=ROWS_PER_CHUNK, compression="zstd")
    return path


def record_shards(
    folder: Path, *, workers: int = 4, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Read shards from elsewhere once, completely: write checksums beside each, and the index.

    Shards with a newer record are skipped.

    Args:
        folder: of the .tar files.
        workers: shards read at the same time.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: if there are none, or one is not a complete tar file.
    """
    shards = shard_files(folder)
    with ThreadPoolExecutor(workers) as pool:
        for number, _ in enumerate(pool.map(_record, shards)):
            if progress is not None:
                progress(number + 1, len(shards))
    return write_index(folder)


def _record(shard: Path) -> None:
    record = read_record(shard)
    if record is None or not has_end(shard):
        write_record(shard, scan_shard(shard, hashed=True))
    elif not _is_newer(record_path(shard), shard):
        if file_sha256(shard) == record.sha256:
            record_path(shard).touch()
        else:
            say(f"{shard}: was changed since its record was written; it is read again")
            write_record(shard, scan_shard(shard, hashed=True))


def _is_newer(path: Path, than: Path) -> bool:
    return path.stat().st_mtime_ns > than.stat().st_mtime_ns


def _no_shards(folder: Path) -> DataError:
    return DataError(
        f"{folder}: no .tar files here (compressed ones have to be unpacked to plain .tar files)"
    )


def open_index(folder: Path) -> RowTable:
    """Open the mapped index of a folder of shards. It is made if missing; changed shards are read again.

    Raises:
        DataError: if there are no shards, or one is missing, damaged, cut short, not in the index, or its size differs.
    """
    shards = shard_files(folder)
    states = {shard.relative_to(folder).as_posix(): _state(shard) for shard in shards}
    index = folder / INDEX_NAME
    if index.exists():
        states[INDEX_NAME] = _state(index)
    elif not shards:
        raise _no_shards(folder)
    stamp = text_sha256(json.dumps(states))
    beside = index if INDEX_NAME in states else folder / "index"
    return mapped(beside, lambda _, old: _build(folder, states, old), stamp)


def passed_over(table: RowTable) -> PassedOver:
    """Content of the index's shards that is not an image of the source."""
    passed = PassedOver()
    for shard, kinds in stored(table.metadata, PASSED, table.path).items():
        for kind, count, first in kinds:
            passed.add(str(kind), f"{first} in {shard}", int(count))
    return passed


def _state(path: Path) -> list[Any]:
    beside = record_path(path)
    return [*astuple(stamp_of(path)), list(astuple(stamp_of(beside))) if beside.exists() else None]


def _build(folder: Path, states: States, old: RowTable | None) -> pa.Table:
    """Collect all rows: of an unchanged shard from the old table, otherwise from the index, a record or a scan."""
    known: States = {}
    if old is not None and set(SCHEMA.names) <= set(old.table.column_names):
        known = stored(old.metadata, STATES, old.path)
        _announce(folder, known, states)
    if old is None or known.get(INDEX_NAME) != states.get(INDEX_NAME):
        known, before = {}, {}
    else:
        before = by_shard(old.table)
    said_before = stored(old.metadata, PASSED, old.path) if old is not None and known else {}
    written, sizes, said_by_index = _written(folder, states)
    pieces: list[pa.Table] = []
    passed: dict[str, Passed] = {}
    for name in (name for name in states if name != INDEX_NAME):
        if known.get(name) == states[name]:
            piece, said = before.get(name, SCHEMA.empty_table()), said_before.get(name, [])
        else:
            made, said = None, []
            if sizes.get(name) == states[name][0]:
                made = _as_indexed(folder, name, written.get(name, SCHEMA.empty_table()))
                said = said_by_index.get(name, [])
            if made is None:
                made = index_table(folder, [(folder / name, _examined(folder / name))])
                said = stored(made.schema.metadata, PASSED, name).get(name, [])
            piece, of_rows = usable(made)
            said = [*said, *of_rows]
        pieces.append(piece.select(SCHEMA.names).cast(SCHEMA).replace_schema_metadata(None))
        if said:
            passed[name] = said
    metadata = {STATES: json.dumps(states), PASSED: json.dumps(passed)}
    table = pa.concat_tables(pieces) if pieces else SCHEMA.empty_table()
    return table.unify_dictionaries().combine_chunks().replace_schema_metadata(metadata)


def _announce(folder: Path, known: States, states: States) -> None:
    """Log which shards have changed since the folder was last opened."""
    both = [name for name in states if name in known and name != INDEX_NAME]
    changed = [name for name in both if known[name][:2] != states[name][:2]]
    new = [name for name in states if name not in known]
    gone = [name for name in known if name not in states]
    kinds = [("changed", changed), ("new", new), ("gone", gone)]
    text = "; ".join(f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in kinds if names)
    if text:
        say(f"{folder}: its files have changed since they were last read; these are read again: {text}")


def _written(folder: Path, states: States) -> tuple[dict[str, pa.Table], dict[str, int], dict[str, Passed]]:
    """Read `index.parquet`: rows and sizes by shard, and what it passed over; nothing if it is missing.

    Raises:
        DataError: if it is damaged, names files that are not shards here, or does not match the shards that are here.
    """
    if INDEX_NAME not in states:
        return {}, {}, {}
    index = folder / INDEX_NAME
    table = read_index(index)
    wanted, said = (stored(table.schema.metadata, key, index) for key in (SHARDS, PASSED))
    rows = by_shard(table)
    strangers = [name for name in rows if name not in states and name not in wanted]
    if strangers:
        raise DataError(f"{index}: names {strangers[0]!r}, which is no .tar file below {folder}. {_AGAIN}")
    missing = [name for name in wanted if name not in states]
    if missing:
        raise DataError(f"{folder}: {len(missing)} of {len(wanted)} shards are missing, first {missing[0]!r}")
    for name, size in wanted.items():
        if states[name][0] != size:
            raise DataError(
                f"{folder / name}: damaged: {states[name][0]} bytes where {size} were written. Make the shard again, "
                f"or, if it was changed on purpose: {_AGAIN}"
            )
    extra = [name for name in states if name not in wanted and name not in rows and name != INDEX_NAME]
    if extra:
        raise DataError(
            f"{folder}: {len(extra)} shards are not in {INDEX_NAME}, first {extra[0]!r}. Move them elsewhere to leave "
            f"them out. {_AGAIN}"
        )
    return rows, wanted, said


def _as_indexed(folder: Path, name: str, piece: pa.Table) -> pa.Table | None:
    """The rows of a shard in `index.parquet`; None if the shard has changed since."""
    shard, index = folder / name, folder / INDEX_NAME
    if _is_newer(index, shard) and has_end(shard):
        return piece
    if same_layout(piece, index_table(folder, [(shard, _examined(shard))])):
        return piece
    say(f"{shard}: was changed since {INDEX_NAME} was written, and is read again. {_AGAIN}")
    return None


def _examined(shard: Path) -> ShardRecord:
    """Content of a shard: its record, unless the shard was changed later."""
    record = read_record(shard)
    if record is not None and _is_newer(record_path(shard), shard) and has_end(shard):
        return record
    scanned = scan_shard(shard, hashed=False)
    if record is None:
        return scanned
    if _layout(record) == _layout(scanned):
        return record
    say(f"{shard}: was changed since its record was written: the record is passed over. {_AGAIN}")
    return scanned


def _layout(record: ShardRecord) -> list[tuple[str, list[tuple[str, int, int]]]]:
    return [(key, [(m.name, m.offset, m.size) for m in members]) for key, members in record.samples]
