"""One tar shard in the WebDataset layout, and the record beside it.

The files of a sample have the same key and differ in what follows the first dot: `a/0001.jpg`, `a/0001.depth.png`,
`a/0001.json`. The record of `x.tar` is `x.tar.json`. It contains the offset and CRC-32 of every file and the shard's
SHA-256. It is written after the shard, so a shard with a record is complete.
"""

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from codistill.data.tar_members import TarEntry, read_entries
from codistill.errors import DataError
from codistill.files.hashes import file_sha256
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver
from codistill.files.writing import atomically, write_atomic

FORMAT = 1
IMAGE_EXTENSIONS = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)


@dataclass(frozen=True)
class Member:
    """One file in a shard: its name after the key's dot, offset and size of its bytes, CRC-32 (None: unknown)."""

    name: str
    offset: int
    size: int
    crc32: int | None


@dataclass(frozen=True)
class ShardRecord:
    """Content of a shard.

    Attributes:
        size, sha256: of the tar file; the hash is empty if it was not computed.
        samples: keys with their members, in the order of the file.
        skipped: images that could not be packed, as (name, reason).
        source_sha256: hash of the stamps of the images it was packed from, if they are known.
        passed: other content of a shard from elsewhere, as (kind, count, first name).
        tag: tag of the shard in a store when this was written; see `ObjectState`.
    """

    size: int
    sha256: str
    samples: tuple[tuple[str, tuple[Member, ...]], ...]
    skipped: tuple[tuple[str, str], ...] = ()
    source_sha256: str = field(default="", compare=False)
    passed: tuple[tuple[str, int, str], ...] = ()
    tag: str = field(default="", compare=False)


class _HashingFile:
    """A binary file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)


def split_member(path: str) -> tuple[str, str]:
    """Split a path in a shard into key and member name, at the first dot of the base name."""
    folder, slash, base = path.rpartition("/")
    stem, _, member = base.partition(".")
    return f"{folder}{slash}{stem}", member


def record_path(shard: Path) -> Path:
    return shard.with_name(f"{shard.name}.json")


def write_shard(
    shard: Path,
    samples: Iterable[tuple[str, Mapping[str, bytes]]],
    skipped: list[tuple[str, str]] | None = None,
    source_sha256: str = "",
) -> ShardRecord:
    """Write a tar shard and its record, each under a temporary name that is renamed at the end.

    The same samples give the same bytes. Several processes may write different shards at the same time, but not the
    same one.

    Args:
        shard: the .tar file.
        samples: (key, {member name: bytes}); the key has no dot after its last slash.
        skipped: (name, reason) of images left out; read after the samples are exhausted.
        source_sha256: see `ShardRecord`.

    Raises:
        DataError: for a key that is empty, has a dot, or is used twice.
    """
    written: dict[str, tuple[Member, ...]] = {}
    with atomically(shard) as partial, partial.open("wb") as file:
        sink = _HashingFile(file)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for key, members in samples:
                if not key or split_member(key) != (key, "") or key in written:
                    raise DataError(f"{shard}: the key {key!r} is empty, has a dot, or is used twice")
                written[key] = tuple(_add(tar, key, name, data) for name, data in members.items())
    record = ShardRecord(
        sink.size, sink.sha256.hexdigest(), tuple(written.items()), tuple(skipped or ()), source_sha256
    )
    write_record(shard, record)
    return record


def write_record(shard: Path, record: ShardRecord) -> None:
    """Write the record beside a shard, atomically."""
    plain = asdict(record)
    plain["samples"] = [
        [key, [[m.name, m.offset, m.size, m.crc32] for m in members]] for key, members in record.samples
    ]
    for optional in ("source_sha256", "passed", "tag"):
        if not plain[optional]:
            del plain[optional]
    write_atomic(record_path(shard), json.dumps({"format": FORMAT, **plain}) + "\n")


def _add(tar: tarfile.TarFile, key: str, name: str, data: bytes) -> Member:
    info = tarfile.TarInfo(f"{key}.{name}")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return Member(name, int(tar.offset) - padded, len(data), zlib.crc32(data))  # type: ignore[attr-defined]


def read_record(shard: Path) -> ShardRecord | None:
    """Read the record beside a shard; None if it is missing, damaged, or belongs to another file size."""
    try:
        return record_of(record_path(shard).read_bytes(), shard.stat().st_size)
    except OSError:
        return None


def record_of(data: bytes, size: int) -> ShardRecord | None:
    """Parse a record; None if it is damaged, or belongs to another size of the shard."""
    try:
        plain = json.loads(data)
        samples = tuple((str(key), tuple(_member(*m) for m in members)) for key, members in plain["samples"])
        skipped = tuple((str(name), str(reason)) for name, reason in plain["skipped"])
        passed = tuple((str(kind), int(count), str(first)) for kind, count, first in plain.get("passed", ()))
        source = str(plain.get("source_sha256", ""))
        tag = str(plain.get("tag", ""))
        record = ShardRecord(int(plain["size"]), str(plain["sha256"]), samples, skipped, source, passed, tag)
        whole = plain["format"] == FORMAT and size == record.size
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if whole else None


def _member(name: object, offset: object, size: object, crc32: object) -> Member:
    if not isinstance(name, str) or not isinstance(offset, int) or not isinstance(size, int):
        raise ValueError("a member is [name, offset, size, crc32]")
    if crc32 is not None and not isinstance(crc32, int):
        raise ValueError("a member's crc32 is a number")
    if offset < 0 or size < 0 or not 0 <= (crc32 or 0) < 1 << 32:
        raise ValueError("a member's numbers are out of range")
    return Member(name, offset, size, crc32)


def scan_shard(shard: Path, *, hashed: bool) -> ShardRecord:
    """Read the content of a tar shard from elsewhere: from its headers only, or (`hashed`) with checksums of all bytes.

    A repeated path starts another sample with the same key: nothing is merged with the earlier one.

    Raises:
        DataError: if the file is missing, or is not a complete tar file.
    """
    samples: list[tuple[str, list[Member]]] = []
    latest: dict[str, list[Member]] = {}
    passed = PassedOver()
    try:
        with shard.open("rb") as file:
            for entry in read_entries(shard, passed):
                crc = _crc(file, entry) if hashed else None
                key, name = split_member(entry.path)
                if key not in latest or any(member.name == name for member in latest[key]):
                    latest[key] = []
                    samples.append((key, latest[key]))
                latest[key].append(Member(name, entry.offset, entry.size, crc))
        size, sha256 = shard.stat().st_size, file_sha256(shard) if hashed else ""
    except OSError as error:
        raise DataError(f"{shard}: cannot be read: {error.strerror or error}") from error
    kinds = tuple((kind, *found) for kind, found in passed.kinds.items())
    return ShardRecord(size, sha256, tuple((key, tuple(members)) for key, members in samples), passed=kinds)


def _crc(file: BinaryIO, entry: TarEntry) -> int:
    file.seek(entry.offset)
    left, crc = entry.size, 0
    while left and (data := file.read(min(left, 1 << 20))):
        crc, left = zlib.crc32(data, crc), left - len(data)
    return crc


def image_member(members: Iterable[str]) -> str | None:
    """The member that is the image: the first whose extension is exactly that of an image (`jpg`, not `depth.png`)."""
    return next((name for name in members if name.lower() in IMAGE_EXTENSIONS), None)


def verify_shard(shard: Path) -> ShardRecord:
    """Compare a shard with the hash in its record.

    Returns:
        the record.

    Raises:
        DataError: if the shard or its record is missing, or the bytes have changed.
    """
    record = read_record(shard)
    if record is None:
        raise DataError(
            f"{shard}: damaged or unfinished: no record of this size beside it. Make the shard again."
        )
    found = file_sha256(shard)
    if found != record.sha256:
        raise DataError(
            f"{shard}: damaged: its SHA-256 is {found[:16]}…, {record.sha256[:16]}… was written. Make it again."
        )
    return record
