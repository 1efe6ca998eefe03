"""Cache of ranges of objects on the local disk: limited in size, shared by processes; the least recently used go first.

There is one sparse file per object, named by a hash of what identifies the object; a range lies at its offset within
the object. Which ranges are stored is not recorded. A range is there if its bytes have the checksum that the caller
knows. Holes, writes cut short by a kill, other processes that write the same range, and a damaged disk therefore need
no lock and no repair: the checksum does not match, and the bytes are fetched again.
"""

import os
import threading
import time
import zlib
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from codistill.errors import WriteError
from codistill.files.listing import say
from codistill.files.writing import cannot_write, make_directory

OPEN_FILES = 64
_TOUCH_SECONDS = 5.0
_STEPS = 2048
"""Each process counts what it writes, and checks the size of the whole cache after this part of the limit."""
_FULL, _KEPT = 0.9, 0.8
"""Share of the limit at which files are removed, and share that is kept then."""


class RangeCache:
    """Bytes of objects, stored below a folder.

    Args:
        folder: created when something is written; processes that name the same folder share it.
        limit: bytes on the disk; exceeded at most by 1/2048 for each process that writes at the same time.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._start()

    def _start(self) -> None:
        self._files: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._unseen = self.limit  # check the size of the whole cache at the first write
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "limit": self.limit}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    def read(self, name: str, offset: int, size: int, crc32: int) -> bytes | None:
        """Return bytes of an object, if they are stored with this checksum; otherwise None.

        Args:
            name: a hash (hexadecimal digits) that identifies the object.
            offset, size: in bytes.
            crc32: of the wanted bytes.
        """
        data = self.bytes_at(name, offset, size)
        return data if len(data) == size and zlib.crc32(data) == crc32 else None

    def bytes_at(self, name: str, offset: int, size: int) -> bytes:
        """Return the stored bytes, unchecked and perhaps too few. For callers that store a checksum within them."""
        try:
            with self._lock:
                file = self._file(name, write=False)
                return b"" if file is None else os.pread(file, size, offset)
        except OSError:
            return b""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Store bytes of an object. If that is not possible (a full disk), log it once and store nothing."""
        if len(data) > self.limit * _KEPT:
            return
        try:
            with self._lock:
                file = self._file(name, write=True)
                if file is not None:
                    os.pwrite(file, data, offset)
                self._unseen += len(data)
                full = self._unseen * _STEPS >= self.limit
                if full:
                    self._unseen = 0
            if full:
                self._make_room()
        except (OSError, WriteError) as error:
            error = error if isinstance(error, WriteError) else cannot_write(self.folder, error)
            say(f"what is read from the store is not kept: {error}")

    def _file(self, name: str, *, write: bool) -> int | None:
        """File descriptor of an object's file; None if there is none to read. The last few stay open."""
        if self._process != os.getpid():  # after a fork, descriptors are shared with the parent
            self._start_again()
        now = time.monotonic()
        file, touched = self._files.get(name, (-1, 0.0))
        if file >= 0 and os.fstat(file).st_nlink == 0:  # another process removed it
            os.close(self._files.pop(name)[0])
            file = -1
        if file < 0:
            path = self._path(name)
            if write:
                make_directory(path.parent)
            try:
                file = os.open(path, os.O_RDWR | (os.O_CREAT if write else 0), 0o666)
            except FileNotFoundError:
                return None
            if len(self._files) >= OPEN_FILES:
                os.close(self._files.popitem(last=False)[1][0])
        if now - touched > _TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(file)
            touched = now
        self._files[name] = (file, touched)
        self._files.move_to_end(name)
        return file

    def _start_again(self) -> None:
        held = self._lock
        for file, _ in self._files.values():
            with suppress(OSError):
                os.close(file)
        self._start()
        self._lock = held

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name[2:]

    def _make_room(self) -> None:
        """Remove the least recently used files, unless another process is doing so."""
        make_directory(self.folder)
        with suppress(Timeout), FileLock(self.folder / ".lock", timeout=0):
            files = sorted(self._stored())
            used = sum(size for _, size, _ in files)
            if used <= self.limit * _FULL:
                return
            for _, size, path in files[:-1]:
                with suppress(FileNotFoundError):
                    os.truncate(path, 0)  # frees the space even if a process has it open
                    os.unlink(path)  # noqa: PTH108
                used -= size
                if used <= self.limit * _KEPT:
                    return

    def _stored(self) -> list[tuple[int, int, str]]:
        """(time of last use, bytes on the disk, path) of all files."""
        found = []
        for folder in self.folder.glob("??"):
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        found.append((status.st_mtime_ns, status.st_blocks * 512, entry.path))
        return found

    def close(self) -> None:
        """Close the open files. They are opened again when they are used."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1][0])

    def __del__(self) -> None:
        if getattr(self, "_process", -1) == os.getpid():
            self.close()
