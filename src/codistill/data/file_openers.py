"""Open sources of single image files: a folder that is scanned, a text list, or a manifest; local or in a store.

Each becomes a table of relative paths.
"""

import numpy as np

from codistill.data.files import FileSource
from codistill.data.lists import read_list
from codistill.data.manifest import FILTERS, ODD, filters_text, open_manifest
from codistill.data.names import RowTable, all_paths, select_rows, table_of_paths
from codistill.data.patterns import selector
from codistill.data.remote.files import RemoteFiles, open_remote_folder
from codistill.data.rooted import leaves_root, relative_name
from codistill.data.source import SourceConfig, expand
from codistill.files.lines import lines_of
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver, walk_files
from codistill.files.remote.config import RemoteConfig
from codistill.files.remote.store import read_object
from codistill.files.urls import is_url, parent_of


def open_folder(config: SourceConfig, remote: RemoteConfig) -> FileSource:
    """Open all images below a folder or an address, folder by folder, sorted by name within each."""
    root = expand(config.path, config.name)
    if is_url(root):
        return open_remote_folder(config, root, remote)
    keep = selector(config.include, config.exclude)
    passed = PassedOver()
    names = walk_files(root, IMAGE_SUFFIXES, passed)
    table = table_of_paths(name for name in names if keep is None or keep(name))
    passed.say(f"source {config.name!r}: {root}")
    return FileSource(config, root, RowTable(table), None, passed)


def open_list(config: SourceConfig, remote: RemoteConfig) -> FileSource:
    """Open the images that a text file lists, one path per line, in its order; see `lists.py`."""
    path = expand(config.path, config.name)
    keep = selector(config.include, config.exclude)
    root = expand(config.root, config.name) if config.root else parent_of(path)
    lines = lines_of(read_object(path, remote.patience), path) if is_url(path) else None
    names = (name for name in read_list(path, root, lines) if keep is None or keep(name))
    return file_source(config, root, RowTable(table_of_paths(names)), None, remote)


def open_manifest_source(config: SourceConfig, remote: RemoteConfig) -> FileSource:
    """Open the images of a Parquet manifest, in its order.

    Raises:
        DataError: if one lies outside of the root, which is `config.root` or what the manifest states.
    """
    path = expand(config.path, config.name)
    table, stated_root = open_manifest(path, remote.patience)
    root = expand(config.root, config.name) if config.root else stated_root
    if table.metadata.get(ODD, b"0") != b"0":
        outside = next((name for name in all_paths(table.table) if relative_name(name, root) is None), None)
        if outside is not None:
            raise leaves_root(f"{path}: {outside!r}", root)
    keep = selector(config.include, config.exclude)
    if table.metadata.get(FILTERS) == filters_text(config.include, config.exclude).encode():
        keep = None  # the manifest was made with these patterns
    rows = select_rows(all_paths(table.table), keep)
    return file_source(config, root, table, rows, remote)


def file_source(
    config: SourceConfig, root: str, table: RowTable, rows: np.ndarray | None, remote: RemoteConfig
) -> FileSource:
    """Make a source of files below a folder, or of objects below an address."""
    if is_url(root):
        return RemoteFiles(config, root, table, rows, remote)
    return FileSource(config, root, table, rows)
