"""A table of relative paths for up to 20 million images: a dictionary of folders, and one file name per row.

In memory it is an Arrow table. On disk it is an uncompressed Arrow IPC file that is mapped into memory, not read:
opening it costs nothing, and all workers of a machine share one copy. Parquet is used for exchange.
"""

import bisect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codistill.errors import DataError
from codistill.files.writing import atomically

SCHEMA = pa.schema([("folder", pa.dictionary(pa.int32(), pa.string())), ("file", pa.string())])
ROWS_PER_CHUNK = 1 << 20
_VALIDATE_WHOLE_BELOW = 64 << 20
"""Size in bytes up to which a mapped table is checked value by value when opened; of larger ones only the layout is."""


def table_of_paths(paths: Iterable[str]) -> pa.Table:
    """Make a table of folders and file names from relative paths, in the given order."""
    folders: dict[str, int] = {}
    chunks: list[tuple[np.ndarray, pa.Array]] = []
    rows = iter(paths)
    while chunk := list(islice(rows, ROWS_PER_CHUNK)):
        split = [path.rpartition("/") for path in chunk]
        codes = [folders.setdefault(folder, len(folders)) for folder, _, _ in split]
        chunks.append(
            (np.array(codes, dtype=np.int32), pa.array([file for _, _, file in split], pa.string()))
        )
    dictionary = pa.array(list(folders), pa.string())
    batches = [
        pa.record_batch([pa.DictionaryArray.from_arrays(codes, dictionary), names], schema=SCHEMA)
        for codes, names in chunks
    ]
    return pa.Table.from_batches(batches, schema=SCHEMA)


def write_ipc(table: pa.Table, path: Path, metadata: dict[bytes, bytes]) -> None:
    """Write a table as an uncompressed Arrow IPC file, atomically, with metadata."""
    table = table.unify_dictionaries().replace_schema_metadata(metadata)
    with atomically(path) as partial, pa.ipc.new_file(str(partial), table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS_PER_CHUNK)


def map_ipc(path: Path) -> pa.Table:
    """Map an Arrow IPC file.

    Raises:
        DataError: if it is damaged.
        FileNotFoundError: if it is missing.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=table.nbytes < _VALIDATE_WHOLE_BELOW)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged index: {error}. Delete it; it is made again.") from error
    return table


class RowTable:
    """Access to the rows of a table, in O(log chunks) per row. If it has a path, it is pickled as that path.

    Args:
        table: any Arrow table.
        path: the IPC file from which the table is mapped, if any.
    """

    def __init__(self, table: pa.Table, path: Path | None = None) -> None:
        self.path = path
        self._set(table)

    def _set(self, table: pa.Table) -> None:
        self.metadata: dict[bytes, bytes] = table.schema.metadata or {}
        self._columns = {name: table.column(name).chunks for name in table.column_names}
        chunks = table.column(0).chunks
        self._starts = [0]
        for chunk in chunks:
            self._starts.append(self._starts[-1] + len(chunk))
        self.table = table

    def __len__(self) -> int:
        return self._starts[-1]

    def value(self, column: str, row: int) -> Any:
        """Return one value as a Python object.

        Raises:
            IndexError: for a missing row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        chunk = bisect.bisect_right(self._starts, row) - 1
        return self._columns[column][chunk][row - self._starts[chunk]].as_py()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "table": None if self.path else self.table}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._set(map_ipc(self.path) if self.path else state["table"])


def path_at(table: RowTable, row: int) -> str:
    """Relative path of a row of a table of paths."""
    folder, file = table.value("folder", row), table.value("file", row)
    return f"{folder}/{file}" if folder else file


def all_paths(table: pa.Table) -> Iterator[str]:
    """Relative paths of all rows, in order."""
    for batch in table.to_batches(max_chunksize=ROWS_PER_CHUNK):
        folders = batch.column("folder").dictionary.to_pylist()
        codes = batch.column("folder").indices.to_pylist()
        for code, file in zip(codes, batch.column("file").to_pylist(), strict=True):
            yield f"{folders[code]}/{file}" if folders[code] else file


def select_rows(paths: Iterable[str], keep: Callable[[str], bool] | None) -> np.ndarray | None:
    """Rows whose path is kept, as uint32; None if all are kept."""
    if keep is None:
        return None
    return np.array([row for row, path in enumerate(paths) if keep(path)], dtype=np.uint32)
