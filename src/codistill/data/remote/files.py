"""Images as single objects in a store, named by a list, a manifest or a listing. Each is read whole.

A listing gives the size and tag of every object, so it is known without a request whether the cache still holds it. A
list or a manifest gives only names: the store is asked for the state of each object that is read. A missing object
counts as a bad image, like a missing file; a store that fails does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from codistill.data.files import FileSource
from codistill.data.names import RowTable, table_of_paths
from codistill.data.patterns import selector
from codistill.data.source import SourceConfig
from codistill.errors import DataError
from codistill.files.listing import ARCHIVES, IMAGE_SUFFIXES, PassedOver, is_foreign
from codistill.files.reading import MAX_FILE_BYTES
from codistill.files.remote.config import RemoteConfig
from codistill.files.remote.reader import ObjectReader
from codistill.files.remote.retrying import MissingObjectError
from codistill.files.remote.store import ObjectState, list_objects
from codistill.files.stamps import Stamp
from codistill.files.urls import object_url


@dataclass(frozen=True)
class ListedStates:
    """States of the images of a listing, in its order: sizes (int64) and tags."""

    sizes: np.ndarray
    tags: pa.Array

    def at(self, index: int) -> ObjectState:
        return ObjectState(int(self.sizes[index]), self.tags[index].as_py())


class RemoteFiles(FileSource):
    """Objects below an address, named by a table of relative names."""

    reads_ahead = True

    def __init__(
        self,
        config: SourceConfig,
        root: str,
        table: RowTable,
        rows: np.ndarray | None,
        remote: RemoteConfig,
        states: ListedStates | None = None,
        passed: PassedOver | None = None,
    ) -> None:
        super().__init__(config, root, table, rows, passed)
        self._reader = ObjectReader(remote)
        self._states = states

    def files_of(self, index: int) -> tuple[Path, ...]:
        return ()

    def stamp_of(self, index: int) -> Stamp | None:
        """Size and tag of an object when it was listed; None for lists and manifests, which do not give them."""
        return None if self._states is None else self._states.at(index).stamp()

    def read(self, index: int) -> bytes:
        return self._reader.ahead.take(index, partial(self._read, index))

    def read_ahead(self, indices: Iterable[int]) -> None:
        for index in indices:
            self._reader.ahead.begin(index, partial(self._read, index))

    def _read(self, index: int) -> bytes:
        return self._object(self.path_of(index), None if self._states is None else self._states.at(index))

    def read_member(self, index: int, member: str) -> bytes:
        stem = self.name_of(index).rpartition(".")[0]
        return self._object(object_url(self.root, f"{stem}.{member}"))

    def _object(self, url: str, state: ObjectState | None = None) -> bytes:
        if state is not None and state.size > MAX_FILE_BYTES:
            raise DataError(
                f"{url}: {state.size} bytes are more than the {MAX_FILE_BYTES} that one image file may have"
            )
        try:
            return self._reader.whole(url, state)
        except MissingObjectError as error:
            raise DataError(str(error)) from None


def open_remote_folder(config: SourceConfig, url: str, remote: RemoteConfig) -> RemoteFiles:
    """Open all images below an address, in the order that a local copy would have."""
    keep = selector(config.include, config.exclude)
    passed = PassedOver()
    found = {
        name: state
        for name, state in list_objects(url, remote.patience).items()
        if _is_image(name, passed) and (keep is None or keep(name))
    }
    passed.say(f"source {config.name!r}: {url}")
    states = ListedStates(
        np.array([state.size for state in found.values()], dtype=np.int64),
        pa.array([state.tag for state in found.values()], pa.string()),
    )
    return RemoteFiles(config, url, RowTable(table_of_paths(found)), None, remote, states, passed)


def _is_image(name: str, passed: PassedOver) -> bool:
    """Whether an object counts as an image, by the rules of `walk_files`."""
    *folders, file = name.split("/")
    if not file.lower().endswith((*IMAGE_SUFFIXES, *ARCHIVES)):
        return False
    if any(is_foreign(folder) for folder in folders):
        passed.add("objects in hidden folders or folders of other programs", name)
    elif is_foreign(file):
        passed.add("hidden files", name)
    elif not file.lower().endswith(IMAGE_SUFFIXES):
        passed.add("archives, which are not opened", name)
    else:
        return True
    return False
