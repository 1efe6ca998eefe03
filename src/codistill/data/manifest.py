"""Manifests: a Parquet file with the relative path of every image, opened through a memory-mapped Arrow file beside it.

The Parquet file is for exchange. It has the columns `folder` and `file`, or one column `path`. The Arrow file is made
when the manifest is first opened, and again when the manifest has changed. It lies in the cache folder if the
manifest's own folder is read-only.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from codistill.data.names import ROWS_PER_CHUNK, SCHEMA, RowTable, map_ipc, table_of_paths, write_ipc
from codistill.data.rooted import odd_rows
from codistill.errors import DataError, WriteError
from codistill.files.hashes import text_sha256
from codistill.files.listing import say
from codistill.files.places import cache_folder
from codistill.files.remote.store import PATIENCE, download, object_state
from codistill.files.remote.writing import written
from codistill.files.stamps import stamp_of
from codistill.files.urls import is_url, join_url, parent_of, parent_url
from codistill.files.writing import cannot_write, make_directory, remove_quietly, temporary_name

_STAMP, _ROOT = b"codistill.stamp", b"codistill.root"
_COLUMNS = (["folder", "file"], ["path"])
FILTERS = b"codistill.filters"
"""Table metadata: the include and exclude patterns with which the manifest was made."""
ODD = b"codistill.odd"
"""Table metadata: number of rows whose path is absolute or contains `..`; these are checked against the root."""
_LAYOUT = "3"


def filters_text(include: Sequence[str], exclude: Sequence[str]) -> str:
    """Write include and exclude patterns as one text, to compare them with those of a manifest."""
    return json.dumps([list(include), list(exclude)])


def write_manifest(table: pa.Table, path: Path | str, root: str, filters: str = "") -> None:
    """Write a table of paths as a manifest, completely or not at all.

    Args:
        table: see `table_of_paths`.
        path: the Parquet file, or its address.
        root: folder or address to which the paths are relative. If the manifest lies below it, the root is stored
            relative to the manifest, so that both can be moved together.
        filters: `filters_text` of the patterns that the paths have already passed.
    """
    above, folder = (
        place if is_url(place) else str(Path(place).resolve()) for place in (root, parent_of(str(path)))
    )
    stated = above
    if f"{folder}/".startswith(f"{above}/"):
        stated = "/".join([".."] * folder.removeprefix(above).count("/")) or "."
    table = table.unify_dictionaries().replace_schema_metadata({_ROOT: stated, FILTERS: filters})
    with written(path) as partial:
        pq.write_table(table, partial, row_group_size=ROWS_PER_CHUNK, compression="zstd")


def open_manifest(path: Path | str, patience: float = PATIENCE) -> tuple[RowTable, str]:
    """Open a manifest (a file or an address): its table of paths, and the folder or address to which they are relative.

    Raises:
        DataError: if the manifest is missing, damaged, or has other columns.
        StoreError: if it is at an address and cannot be read; see `patiently`.
    """
    at_url = is_url(str(path))
    if at_url:
        table = table_of_object(str(path), manifest_table, patience)
    else:
        table = mapped(Path(path), lambda changed, _: manifest_table(changed))
    stated = table.metadata.get(_ROOT, b".").decode(errors="replace")
    if is_url(stated) or (at_url and stated.startswith("/")):
        return table, stated
    return table, join_url(parent_url(str(path)), stated) if at_url else str(Path(path).parent / stated)


def manifest_table(path: Path) -> pa.Table:
    """Read a whole Parquet manifest as a table of folders and file names.

    Raises:
        DataError: if it is damaged or has other columns.
    """
    schema = read_parquet(path).schema_arrow
    chosen = next((names for names in _COLUMNS if set(names) <= set(schema.names)), None)
    if chosen is None:
        raise DataError(
            f"{path}: a manifest has the columns 'folder' and 'file', or 'path'; this has {', '.join(schema.names)}"
        )
    if not all(_is_text(schema.field(name).type) for name in chosen):
        raise DataError(
            f"{path}: the columns {' and '.join(chosen)} of a manifest hold text; this is {schema}"
        )
    try:
        reader = pq.ParquetFile(path, read_dictionary=[name for name in chosen if name == "folder"])
        batches = list(reader.iter_batches(ROWS_PER_CHUNK, columns=chosen))
        table = pa.Table.from_batches(batches, schema=reader.schema_arrow.empty_table().select(chosen).schema)
        table.validate(full=True)
        if any(column.null_count for column in table.columns):
            raise DataError(f"{path}: some rows have no path")
        if chosen == ["path"]:
            table = table_of_paths(table.column("path").cast(pa.string()).to_pylist())
        else:
            table = table.cast(SCHEMA).unify_dictionaries()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged manifest: {error}") from error
    metadata = schema.metadata or {}
    return table.replace_schema_metadata(
        {_ROOT: metadata.get(_ROOT, b"."), FILTERS: metadata.get(FILTERS, b""), ODD: str(odd_rows(table))}
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def read_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file; DataError if it is missing or damaged."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {error}") from error


def mapped(
    path: Path, build: Callable[[Path, RowTable | None], pa.Table], stamp: str | None = None
) -> RowTable:
    """Return the mapped Arrow table of a file. `build(path, old)` makes it if there is none or the file has changed.

    Args:
        path: the file from which the table is made.
        build: reads the file; `old` is the table of an earlier state of the file, if any.
        stamp: identifies the state of the file. Default: its size and time of change; making the table again is then
            logged.

    Raises:
        DataError: from `build`, or if the table cannot be written anywhere.
    """
    announced = stamp is None
    if stamp is None:
        try:
            found = stamp_of(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        stamp = f"{found.size} {found.modified_ns}"
    beside = path.with_name(f"{path.name}.arrow")
    digest = text_sha256(str(path.resolve()))[:24]
    places = (beside, cache_folder() / "tables" / f"{digest}.arrow")
    old: RowTable | None = None
    for place in places:
        table = _of_this_layout(place)
        if table is not None and table.metadata[_STAMP] == f"{_LAYOUT} {stamp}".encode():
            return table
        old = table if old is None else old
    if announced and old is not None:
        before = "".join(old.metadata[_STAMP].decode(errors="replace").split()[1:2])
        size = stamp.split()[0]
        how = (
            f"{before} bytes before, {size} now"
            if before != size
            else f"of {size} bytes as before, but later"
        )
        say(f"{path}: was changed since its table was made ({how}); the table is made again")
    made = build(path, old)
    metadata = {**(made.schema.metadata or {}), _STAMP: f"{_LAYOUT} {stamp}".encode()}
    failures = []
    for place in places:
        try:
            write_ipc(made, place, metadata)
        except WriteError as error:
            failures.append(str(error))
        else:
            return RowTable(map_ipc(place), place)
    raise DataError(
        f"{path}: nowhere to write its index ({'; '.join(failures)}). Set CODISTILL_CACHE to a folder with space."
    )


def table_of_object(url: str, build: Callable[[Path], pa.Table], patience: float) -> RowTable:
    """Return the mapped table of an object, in the cache folder.

    It is made once per machine, and again if the object changes.

    Args:
        url: of the object.
        build: reads a local copy, which is removed afterwards.
        patience: see `RemoteConfig`.

    Raises:
        StoreError: see `patiently`.
        DataError: from `build`.
    """
    state = object_state(url, patience)
    place = cache_folder() / "tables" / f"{text_sha256(url)[:24]}.arrow"
    stamp = f"{_LAYOUT} {state.size} {state.tag}".encode()

    def there() -> RowTable | None:
        table = _of_this_layout(place)
        return table if state.tag and table is not None and table.metadata[_STAMP] == stamp else None

    if (table := there()) is not None:
        return table
    make_directory(place.parent)
    with FileLock(f"{place}.lock"):  # only one of several ranks reads it
        if (table := there()) is not None:
            return table
        copy = temporary_name(place)
        try:
            if download(url, copy, patience) != state:
                raise DataError(f"{url}: was changed while it was opened; start again")
            made = build(copy)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), url)) from None
        except OSError as error:
            raise cannot_write(place, error) from error
        finally:
            remove_quietly(copy)
        write_ipc(made, place, {**(made.schema.metadata or {}), _STAMP: stamp})
        return RowTable(map_ipc(place), place)


def _of_this_layout(place: Path) -> RowTable | None:
    """The table at a path, if this layout version wrote it."""
    try:
        table = RowTable(map_ipc(place), place)
    except (FileNotFoundError, NotADirectoryError, DataError):
        return None
    return table if table.metadata.get(_STAMP, b"").startswith(f"{_LAYOUT} ".encode()) else None
