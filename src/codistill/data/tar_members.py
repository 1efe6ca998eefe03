"""Read the content of a tar file from its headers: all regular files, and proof that the archive is complete.

A tar has no table of contents, and a reader takes the end of a cut file, or a damaged header, for the end of the
archive. The end-of-archive blocks are therefore required (1024 zero bytes where the next header would be, then only
zeros). GNU tar, bsdtar, Python and WebDataset write them last.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codistill.errors import DataError
from codistill.files.listing import PassedOver, is_foreign

_END = 2 * tarfile.BLOCKSIZE
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


@dataclass(frozen=True)
class TarEntry:
    """A regular file in a tar: its path, and the offset and number of its bytes."""

    path: str
    offset: int
    size: int


def read_entries(shard: Path, passed: PassedOver) -> Iterator[TarEntry]:
    """Yield the regular files of a tar, in its order. A hard link stands for the file to which it leads.

    Args:
        shard: the tar file, not compressed.
        passed: collects what is not used: hidden members and those of other programs (macOS writes `._x.jpg`), symbolic
            links, devices, sparse files, paths that lead out of the archive.

    Raises:
        DataError: if the file is missing, not a tar, damaged or cut short.
    """
    found: dict[str, TarEntry] = {}
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            _refuse_compressed(file, shard)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    if info.size < 0 or info.offset_data + (info.size if info.isreg() else 0) > size:
                        raise DataError(f"{shard}: cut short or damaged in {info.name!r}. {_AGAIN}")
                    entry = _entry(info, found, passed)
                    if entry is not None:
                        found[entry.path] = entry
                        yield entry
                end: int = tar.offset  # type: ignore[attr-defined]
            _check_end(file, shard, end, size)
    except (OSError, tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{shard}: not a whole tar file: {error}. {_AGAIN}") from error


_AGAIN = "Copy or make it again."


def _refuse_compressed(file: BinaryIO, shard: Path) -> None:
    start = file.read(8)
    file.seek(0)
    for mark, kind in _COMPRESSED.items():
        if start.startswith(mark):
            raise DataError(
                f"{shard}: not a whole tar file but {kind}, which cannot be read at random. Unpack it to a plain .tar."
            )


def _check_end(file: BinaryIO, shard: Path, end: int, size: int) -> None:
    file.seek(end)
    blocks = file.read(_END)
    if len(blocks) < _END or any(blocks):
        what = "no end-of-archive blocks" if len(blocks) < _END else "a damaged header"
        raise DataError(f"{shard}: cut short or damaged: {what} at byte {end:,} of {size:,}. {_AGAIN}")
    while rest := file.read(1 << 20):
        if any(rest):
            raise DataError(
                f"{shard}: other data follows the end of the archive at byte {end:,} (several tars in one file?), "
                "whose files would be missing. Make it again as one archive."
            )


def has_end(shard: Path) -> bool:
    """Whether a file ends as a complete tar does. A cheap check, and not a sufficient one."""
    try:
        with shard.open("rb") as file:
            file.seek(-_END, 2)
            return not any(file.read())
    except OSError:
        return False


def _entry(info: tarfile.TarInfo, found: dict[str, TarEntry], passed: PassedOver) -> TarEntry | None:
    """The member as a file of the shard; None if it is a folder or is not used."""
    path = _plain(info.name)
    if info.isdir():
        return None
    if any(is_foreign(part) for part in path.split("/") if part != ".."):
        passed.add("hidden members or members of other programs", path)
    elif ".." in path.split("/") or not path:
        passed.add("members whose path leads out of the archive", info.name)
    elif not _is_utf8(path):
        passed.add("members whose name is not UTF-8", repr(path))
    elif info.islnk() and _plain(info.linkname) in found:
        target = found[_plain(info.linkname)]
        return TarEntry(path, target.offset, target.size)
    elif not info.isreg():
        passed.add("links, pipes or devices", path)
    elif info.issparse():
        passed.add("members that are stored sparse (pack without --sparse)", path)
    else:
        return TarEntry(path, info.offset_data, info.size)
    return None


def _plain(path: str) -> str:
    return path.removeprefix("./").lstrip("/")


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
