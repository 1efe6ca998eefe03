"""Shards in a store: each is made in a local temporary folder and uploaded whole; its record follows.

Stores have no locks. Two processes that pack the same source to the same address write the same bytes. Another source,
or other options, are refused because of the plan that is stored there.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from codistill.data.index_rows import index_table
from codistill.data.shard_format import (
    ShardRecord,
    record_of,
    record_path,
    scan_shard,
    verify_shard,
    write_record,
    write_shard,
)
from codistill.data.shard_index import INDEX_NAME, write_rows
from codistill.errors import DataError
from codistill.files.hashes import file_sha256
from codistill.files.listing import is_foreign, say
from codistill.files.remote.store import (
    PATIENCE,
    NothingThereError,
    ObjectState,
    check_writable,
    download,
    find_object,
    list_objects,
    read_range,
    upload,
)
from codistill.files.remote.writing import write_text
from codistill.files.urls import object_url


class StoreFolder:
    """An address of shards. A context manager; its local temporary folder is removed at the end."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.where, self.patience = url.rstrip("/"), patience
        self._local = tempfile.TemporaryDirectory(prefix="codistill-shards-")
        self.local = Path(self._local.name)

    def __enter__(self) -> "StoreFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._local.cleanup()

    def at(self, name: str) -> str:
        return object_url(self.where, name)

    def read_text(self, name: str) -> str | None:
        data = self._read(name)
        return None if data is None else data.decode(errors="replace")

    def _read(self, name: str) -> bytes | None:
        state = find_object(self.at(name), self.patience)
        return None if state is None else read_range(self.at(name), 0, state.size, self.patience)

    def write_text(self, name: str, text: str) -> None:
        write_text(self.at(name), text, self.patience)

    def has_shards(self) -> bool:
        return bool(self.shards())

    def shards(self) -> dict[str, ObjectState]:
        """The tar files below the address, by relative name, in the order of a local folder's."""
        try:
            found = list_objects(self.where, self.patience)
        except NothingThereError:
            return {}
        names = [
            name
            for name in found
            if name.lower().endswith(".tar") and not any(map(is_foreign, name.split("/")))
        ]
        return {name: found[name] for name in sorted(names, key=PurePosixPath)}

    def record(self, name: str, state: ObjectState | None = None) -> ShardRecord | None:
        """The record beside a shard, if the shard exists and has the record's size."""
        state = state or find_object(self.at(name), self.patience)
        data = None if state is None else self._read(f"{name}.json")
        return None if state is None or data is None else record_of(data, state.size)

    def write_shard(
        self,
        name: str,
        samples: Iterable[tuple[str, Mapping[str, bytes]]],
        skipped: list[tuple[str, str]],
        source_sha256: str,
    ) -> ShardRecord:
        shard = self.local / name
        try:
            record = write_shard(shard, samples, skipped, source_sha256)
            state = upload(shard, self.at(name), self.patience)
            return self.write_record(name, replace(record, tag=state.tag))
        finally:
            shard.unlink(missing_ok=True)

    def write_record(self, name: str, record: ShardRecord) -> ShardRecord:
        """Write the record beside a shard."""
        shard = self.local / name
        shard.parent.mkdir(parents=True, exist_ok=True)
        write_record(shard, record)
        upload(record_path(shard), self.at(f"{name}.json"), self.patience)
        record_path(shard).unlink()
        return record

    def write_index(self, records: Mapping[str, ShardRecord]) -> None:
        rows = index_table(self.local, ((self.local / name, record) for name, record in records.items()))
        upload(write_rows(rows, self.local / INDEX_NAME), self.at(INDEX_NAME), self.patience)

    def fetch(self, name: str) -> tuple[Path, ObjectState]:
        """Download a shard; return the local copy, which the caller removes, and the shard's state."""
        copy = self.local / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        return copy, download(self.at(name), copy, self.patience)


def record_shards_in_store(
    url: str, *, workers: int = 4, progress: Callable[[int, int], None] | None = None
) -> str:
    """Read all shards at an address once, completely: write checksums beside each, and the index.

    Returns the address of the index. Shards whose record has their present tag are not read.

    Args:
        url: address below which the .tar objects lie.
        workers: shards read at the same time, each through a local copy.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: if there are none, or one is not a complete tar file.
        ConfigError: if addresses of this kind cannot be written.
        StoreError: see `patiently`.
    """
    check_writable(url)
    with StoreFolder(url) as folder, ThreadPoolExecutor(workers) as pool:
        shards = folder.shards()
        if not shards:
            raise DataError(
                f"{url}: no .tar files here (compressed ones have to be unpacked to plain .tar files)"
            )
        records: dict[str, ShardRecord] = {}
        try:
            for name, record in zip(
                shards, pool.map(partial(_recorded, folder), shards, shards.values()), strict=True
            ):
                records[name] = record
                if progress is not None:
                    progress(len(records), len(shards))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        folder.write_index(records)
        return folder.at(INDEX_NAME)


def _recorded(folder: StoreFolder, name: str, state: ObjectState) -> ShardRecord:
    record = folder.record(name, state)
    if record is not None and state.tag and record.tag == state.tag:
        return record
    copy, now = folder.fetch(name)
    try:
        if record is None or file_sha256(copy) != record.sha256:
            if record is not None:
                say(f"{folder.at(name)}: was changed since its record was written; it is read again")
            record = scan_shard(copy, hashed=True)
    except DataError as error:
        raise DataError(str(error).replace(str(copy), folder.at(name))) from None
    finally:
        copy.unlink(missing_ok=True)
    return folder.write_record(name, replace(record, tag=now.tag))


def verify_shards_in_store(url: str) -> tuple[int, list[str]]:
    """Compare the shards at an address with the hashes in their records, through local copies.

    Returns:
        The number of shards, and a text for each damaged one.
    """
    wrong = []
    with StoreFolder(url) as folder:
        shards = folder.shards()
        for name in shards:
            copy, _ = folder.fetch(name)
            try:
                data = folder.read_text(f"{name}.json")
                if data is not None:
                    record_path(copy).write_text(data, encoding="utf-8")
                verify_shard(copy)
            except DataError as error:
                wrong.append(str(error).replace(str(copy), folder.at(name)))
            finally:
                copy.unlink(missing_ok=True)
                record_path(copy).unlink(missing_ok=True)
    return len(shards), wrong
