"""Fingerprint of a source at the start of a run: its images by name, and their files by size and time of change.

A run stores the fingerprint of each of its sources and compares it when it resumes, because training on other images is
another training.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from codistill.data.source import Source
from codistill.files.inputs import named_text

NAMED = 2_000
"""Number of images, evenly spread, that are stored by name with their stamps; all images of a smaller source."""
STAMPED = 200_000
"""Number of images, evenly spread, whose stamps are hashed together: all of 20 million would take an hour."""
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """Fingerprint of a source.

    Attributes:
        name, path, kind: of the source; `kind` is the class that reads it.
        images: number of images.
        names_sha256: hash of all their names, in order.
        stamps_sha256: hash of the sizes and times of change of `STAMPED` of them.
        files: (name, size in bytes, time of change in nanoseconds) of `NAMED` of them; -1 if unknown.
    """

    name: str
    path: str
    kind: str
    images: int
    names_sha256: str
    stamps_sha256: str
    files: tuple[tuple[str, int, int], ...]


def state_of(source: Source) -> SourceState:
    """Take the fingerprint of an open source."""
    count = len(source)
    names = hashlib.sha256()
    iterator = source.names()
    while chunk := list(islice(iterator, _CHUNK)):
        names.update("\0".join([*chunk, ""]).encode())
    stamps = hashlib.sha256()
    for index in _spread(count, STAMPED):
        stamps.update(f"{_stamp(source, index)}\n".encode())
    files = tuple((source.name_of(index), *_stamp(source, index)) for index in _spread(count, NAMED))
    return SourceState(
        name=source.config.name,
        path=source.config.path,
        kind=type(source).__name__,
        images=count,
        names_sha256=names.hexdigest(),
        stamps_sha256=stamps.hexdigest(),
        files=files,
    )


def _stamp(source: Source, index: int) -> tuple[int, int]:
    stamp = source.stamp_of(index)
    return (-1, -1) if stamp is None else (stamp.size, stamp.modified_ns)


def _spread(count: int, wanted: int) -> Iterator[int]:
    if count <= wanted:
        return iter(range(count))
    return (number * count // wanted for number in range(wanted))


def what_changed(old: SourceState, new: SourceState) -> str:
    """Describe the differences between two fingerprints of a source; empty if there are none."""
    parts = [part for part in (_names(old, new), _files(old, new)) if part]
    if old.path != new.path:
        same = "" if parts else f"the {new.images:,} images of before, by name and size, "
        parts.append(f"{same}now read from {new.path}, before from {old.path}")
    return "; ".join(parts)


def _names(old: SourceState, new: SourceState) -> str:
    if old.names_sha256 == new.names_sha256:
        return ""
    parts = [f"{new.images:,} images, before {old.images:,}"] if old.images != new.images else []
    if max(old.images, new.images) > NAMED:
        return "; ".join([*parts, "other names or another order"])
    before, now = ([name for name, *_ in state.files] for state in (old, new))
    known, still = set(before), set(now)
    came = [name for name in now if name not in known]
    went = [name for name in before if name not in still]
    parts += [named_text("new", came), named_text("gone", went)]
    return "; ".join(part for part in parts if part) or "another order of the images"


def _files(old: SourceState, new: SourceState) -> str:
    if old.kind != new.kind or old.stamps_sha256 == new.stamps_sha256:
        return ""
    before = {name: tuple(stamp) for name, *stamp in old.files}
    both = [(name, tuple(stamp)) for name, *stamp in new.files if name in before]
    resized = [name for name, stamp in both if before[name][0] != stamp[0]]
    later = [name for name, stamp in both if before[name] != stamp and before[name][0] == stamp[0]]
    parts = [named_text("files of another size", resized)] if resized else []
    if later and len(later) == len(both) and old.path != new.path:
        return "; ".join(parts)  # copied elsewhere: all have the time of the copy
    if later:
        parts.append(named_text("files of equal size but changed at another time", later))
    if not parts and old.names_sha256 == new.names_sha256:
        parts = [f"files changed that are not among the {len(old.files):,} kept by name"]
    return "; ".join(parts)
