"""Record what a stored result was made from, and find which of these inputs have changed.

A row of the result (an image's features, a pair's tokens) is made from parts. A part is a file, identified by size and
modification time, or a fact, a short text (a label, the hash of a camera read from a list). The table of parts is
stored beside the result:

    columns row, name, stamp    one line per part; row -1 is for parts of all rows (a list of classes)
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.stamps import stamp_of
from codistill.files.writing import atomically

Part = tuple[str, str]
"""A name, and a text that changes when the part changes."""

Row = tuple[Part, ...]
_SCHEMA = pa.schema([("row", pa.int32()), ("name", pa.string()), ("stamp", pa.string())])
_SHARED = -1
_MISSING = "missing"
_SHOWN = 3


@dataclass(frozen=True)
class Inputs:
    """The parts of every row.

    Attributes:
        rows: parts of each row, in the order of the rows. Rows with equal parts are equal.
        shared: parts that all rows have.
    """

    rows: tuple[Row, ...]
    shared: Row = ()

    def digest(self) -> str:
        """SHA-256 of all parts; equal for equal inputs."""
        return text_sha256(repr((self.shared, self.rows)))


@dataclass(frozen=True)
class Change:
    """How the current inputs differ from those of a stored result.

    Attributes:
        sources: for each current row, the old row with the same parts; -1 if there is none.
        text: the differences, with names; empty if there are none.
    """

    sources: tuple[int, ...]
    text: str


class Stamper:
    """Makes parts from files. A file that many rows share is examined only once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def part(self, path: str | os.PathLike[str]) -> Part:
        """Return a file's name and stamp. A missing file gets a stamp too; the error comes when it is read.

        Links to folders are resolved in the name, so a link that now leads to another version of a data set is noticed.
        """
        folder, base = os.path.split(os.fspath(path))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        name = os.path.join(self._folders[folder], base)  # noqa: PTH118  (a million of these)
        if name not in self._known:
            try:
                stamp = stamp_of(name)
                self._known[name] = f"{stamp.size} {stamp.modified_ns}"
            except OSError:
                self._known[name] = _MISSING
        return name, self._known[name]


def content_part(path: str | os.PathLike[str]) -> Part:
    """Return the name and content hash of a small file; a changed modification time alone is no change."""
    name = os.fspath(path)
    try:
        return name, file_sha256(Path(name))
    except OSError:
        return name, _MISSING


def write_inputs(path: Path, inputs: Inputs) -> None:
    """Write the table of parts, completely or not at all; see `writing.atomically`."""
    numbered = [(_SHARED, inputs.shared), *enumerate(inputs.rows)]
    lines = [(row, *part) for row, parts in numbered for part in parts]
    columns = [pa.array([line[at] for line in lines], field.type) for at, field in enumerate(_SCHEMA)]
    metadata = {b"rows": str(len(inputs.rows)).encode()}
    with atomically(path) as temporary:
        table = pa.table(columns, schema=_SCHEMA.with_metadata(metadata))
        pq.write_table(table, temporary, compression="zstd")


def read_inputs(path: Path) -> Inputs | None:
    """Read the table of parts; None if it is missing or damaged: then the result's inputs are unknown."""
    try:
        table = pq.read_table(path)
        count = int((table.schema.metadata or {})[b"rows"])
        rows: list[list[Part]] = [[] for _ in range(count + 1)]  # the last one: parts of all rows
        columns = (table.column(name).to_pylist() for name in _SCHEMA.names)
        for row, name, stamp in zip(*columns, strict=True):
            rows[row].append((name, stamp))
    except (OSError, pa.ArrowException, KeyError, ValueError, IndexError):
        return None
    return Inputs(tuple(map(tuple, rows[:-1])), tuple(rows[-1]))


def compare(old: Inputs, new: Inputs, *, by_place: bool) -> Change:
    """Find which rows of a stored result can be reused.

    Args:
        old: inputs of the stored result.
        new: current inputs.
        by_place: whether a row also depends on its number and the number of rows (as random views do).
    """
    text = _text(old, new)
    if old.shared != new.shared or (by_place and len(old.rows) != len(new.rows)):
        return Change((-1,) * len(new.rows), text)
    if by_place:
        pairs = zip(old.rows, new.rows, strict=True)
        sources = tuple(at if before == now else -1 for at, (before, now) in enumerate(pairs))
    else:
        places = {parts: at for at, parts in enumerate(old.rows)}
        # A row that is unchanged at its place is used, not an equal row elsewhere.
        kept = (at < len(old.rows) and old.rows[at] == parts for at, parts in enumerate(new.rows))
        sources = tuple(
            at if same else places.get(parts, -1)
            for at, (same, parts) in enumerate(zip(kept, new.rows, strict=True))
        )
    return Change(sources, text)


def _text(old: Inputs, new: Inputs) -> str:
    """Describe the differences: changed, new or missing parts, some by name, or another order of the rows."""
    if old == new:
        return ""
    before, now = _stamps(old), _stamps(new)
    changed = [name for name, stamp in now.items() if name in before and before[name] != stamp]
    parts = [
        named_text("changed", changed),
        named_text("new", [name for name in now if name not in before]),
        named_text("gone", [name for name in before if name not in now]),
    ]
    found = "; ".join(part for part in parts if part)
    if found:
        return found
    same = Counter(old.rows) == Counter(new.rows)
    return "the order of the images" if same else "what belongs together"


def named_text(what: str, names: Sequence[str]) -> str:
    """Format names as `changed: a, b, c and 4 others`; empty without names."""
    if not names:
        return ""
    others = len(names) - _SHOWN
    more = f" and {others:,} other{'s' * (others > 1)}" if others > 0 else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"


def _stamps(inputs: Inputs) -> dict[str, str]:
    return {name: stamp for row in (inputs.shared, *inputs.rows) for name, stamp in row}


def fact(name: str, *values: object) -> Part:
    """Make a part from values of a list or label: a name, and a hash of their texts."""
    return name, text_sha256(repr(values))[:16]


def stamped(rows: Iterable[Sequence[str | os.PathLike[str] | Part]], shared: Row = ()) -> Inputs:
    """Make inputs from the files and facts of each row.

    Args:
        rows: for each row, paths, which are examined now, and facts, which are kept as they are.
        shared: parts that all rows have.
    """
    stamper = Stamper()
    return Inputs(
        tuple(
            tuple(part if isinstance(part, tuple) else stamper.part(part) for part in parts) for parts in rows
        ),
        shared,
    )
