"""Places to which shards are written: a local folder, which one process locks, or an address in a store."""

import errno
import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from codistill.data.remote.folder import StoreFolder
from codistill.data.shard_format import ShardRecord, read_record, write_shard
from codistill.data.shard_index import write_index
from codistill.errors import DataError
from codistill.files.remote.store import check_writable
from codistill.files.urls import is_url
from codistill.files.writing import cannot_write, make_directory, remove_leftovers, write_atomic

Samples = Iterable[tuple[str, Mapping[str, bytes]]]


class ShardFolder(Protocol):
    """A place for shards, their records and their index, by name."""

    where: str

    def read_text(self, name: str) -> str | None: ...

    def write_text(self, name: str, text: str) -> None: ...

    def has_shards(self) -> bool: ...

    def record(self, name: str) -> ShardRecord | None: ...

    def write_shard(
        self, name: str, samples: Samples, skipped: list[tuple[str, str]], source_sha256: str
    ) -> ShardRecord: ...

    def write_index(self, records: Mapping[str, ShardRecord]) -> None: ...


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def read_text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def write_text(self, name: str, text: str) -> None:
        write_atomic(self.folder / name, text)

    def has_shards(self) -> bool:
        return any(self.folder.glob("*.tar"))

    def record(self, name: str) -> ShardRecord | None:
        return read_record(self.folder / name)

    def write_shard(
        self, name: str, samples: Samples, skipped: list[tuple[str, str]], source_sha256: str
    ) -> ShardRecord:
        return write_shard(self.folder / name, samples, skipped, source_sha256)

    def write_index(self, records: Mapping[str, ShardRecord]) -> None:
        write_index(self.folder)


@contextmanager
def shard_folder(place: Path | str) -> Iterator[ShardFolder]:
    """Open the folder (locked) or address to which shards are written. Leftovers of killed processes are removed.

    Raises:
        DataError: if another process packs into the folder, or it cannot be written.
        ConfigError: if addresses of this kind cannot be written.
    """
    if is_url(str(place)):
        check_writable(str(place))
        with StoreFolder(str(place)) as folder:
            yield folder
        return
    folder = Path(place)
    make_directory(folder)
    with _locked(folder):
        remove_leftovers(folder)
        yield LocalFolder(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise DataError(f"{folder}: another process is packing into this folder") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise cannot_write(folder, error) from error  # otherwise the file system has no locks
        yield
