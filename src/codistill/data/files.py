"""Images as single files: a folder that is scanned, a text list, or a manifest; all become a table of paths."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codistill.data.manifest import FILTERS, filters_text, open_manifest
from codistill.data.names import RowTable, all_paths, path_at, select_rows, table_of_paths
from codistill.data.patterns import selector
from codistill.data.source import Source, SourceConfig, expand
from codistill.errors import DataError
from codistill.imaging import read_file

IMAGE_EXTENSIONS = frozenset(
    "jpg jpeg jpe png webp bmp tif tiff gif ppm pgm pbm pnm jp2 avif jfif tga".split()  # noqa: SIM905
)


def is_image(name: str) -> bool:
    """Whether a file name ends like an image's."""
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and not name.startswith(".")


class FileSource(Source):
    """Files under a root, named by a table of relative paths."""

    def __init__(self, config: SourceConfig, root: str, table: RowTable, rows: np.ndarray | None) -> None:
        super().__init__(config)
        self.root = root
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._table) if self._rows is None else len(self._rows)

    def name_of(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)} in source {self.config.name!r}")
        return path_at(self._table, index if self._rows is None else int(self._rows[index]))

    def path_of(self, index: int) -> str:
        """The image's file."""
        return os.path.join(self.root, self.name_of(index))  # noqa: PTH118

    def files_of(self, index: int) -> tuple[Path, ...]:
        return (Path(self.path_of(index)),)

    def read(self, index: int) -> bytes:
        return read_file(self.path_of(index))

    def read_member(self, index: int, member: str) -> bytes:
        return read_file(f"{os.path.splitext(self.path_of(index))[0]}.{member}")  # noqa: PTH122


def open_folder(config: SourceConfig) -> FileSource:
    """All images under a folder, folder by folder, each in the order of names."""
    root = expand(config.path, config.name)
    keep = selector(config.include, config.exclude)
    table = table_of_paths(name for name in scan_folder(root) if keep is None or keep(name))
    return FileSource(config, root, RowTable(table), None)


def open_list(config: SourceConfig) -> FileSource:
    """The images that a text file lists, one relative path per line, in its order."""
    path = Path(expand(config.path, config.name))
    keep = selector(config.include, config.exclude)
    root = expand(config.root, config.name) if config.root else str(path.parent)
    names = (name for name in read_list(path) if keep is None or keep(name))
    return FileSource(config, root, RowTable(table_of_paths(names)), None)


def open_manifest_source(config: SourceConfig) -> FileSource:
    """The images of a Parquet manifest, in its order."""
    table, stated_root = open_manifest(Path(expand(config.path, config.name)))
    root = expand(config.root, config.name) if config.root else stated_root
    keep = selector(config.include, config.exclude)
    if table.metadata.get(FILTERS) == filters_text(config.include, config.exclude).encode():
        keep = None  # the manifest was made with these patterns
    rows = select_rows(all_paths(table.table), keep)
    return FileSource(config, root, table, rows)


def read_list(path: Path) -> list[str]:
    """Relative paths in a UTF-8 text file; empty lines and lines that start with # are passed over.

    Raises:
        DataError: if the file cannot be read or is not text.
    """
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text list of paths ({error}); write one relative path per line"
        ) from None
    names = [line.strip().replace("\\", "/") for line in lines]
    return [name for name in names if name and not name.startswith("#")]


def scan_folder(root: str) -> Iterator[str]:
    """Relative paths of all images under a folder: its files by name, then its folders by name.

    Links to folders are followed, once: a link that leads back to where it stands is not.

    Raises:
        DataError: if the folder is missing or one below it cannot be listed.
    """
    yield from _scan(root, "", (os.path.realpath(root),))


def _scan(root: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    here = os.path.join(root, prefix) if prefix else root  # noqa: PTH118
    try:
        with os.scandir(here) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            folders = [entry for entry in found if entry.is_dir()]
    except OSError as error:
        raise DataError(f"{here}: cannot be listed: {error.strerror or error}") from error
    names = {entry.name for entry in folders}
    for entry in found:
        if is_image(entry.name) and entry.name not in names:
            yield _text(f"{prefix}{entry.name}", here)
    for entry in folders:
        real = os.path.realpath(entry.path) if entry.is_symlink() else ""
        if real not in above and not entry.name.startswith("."):
            yield from _scan(root, f"{prefix}{entry.name}/", (*above, os.path.realpath(entry.path)))


def _text(name: str, folder: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the file name {name!r} is not UTF-8; rename it") from None
    return name
