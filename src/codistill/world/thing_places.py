"""Positions of a world's single things in its pictures, found once from the ground truth and cached as a small table.

The things are those of `crops.py`; they are cropped when they are read. The table's name in the cache folder is derived
from the shards (names, sizes, times of change), so that a changed world gets a new table.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from codistill.data import Source
from codistill.errors import DataError, WriteError
from codistill.files.hashes import text_sha256
from codistill.files.inputs import stamped
from codistill.files.npz import read_npz, write_npz
from codistill.files.places import cache_folder
from codistill.imaging import decode_rgb
from codistill.world.classes import CLASSES
from codistill.world.crops import LEAST, MARGIN, read_windows, thing_name
from codistill.world.dataset import SegmentationDataset
from codistill.world.identity import scene_of

FORMAT = 1
"""Version of the table and of the rule in `crops.windows_of`; it must change when that rule changes."""

_ARRAYS = ("pictures", "numbers", "labels", "windows")
Progress = Callable[[int], None]
"""Called with the number of finished pictures."""


@dataclass(frozen=True)
class ThingPlaces:
    """The things of a split, by category and name.

    Attributes:
        dataset: the pictures.
        pictures: for each thing, the index of its picture.
        numbers: for each thing, its number among the picture's instances.
        labels: for each thing, an index into `CLASSES`.
        windows: for each thing, top, bottom, left, right.
    """

    dataset: SegmentationDataset
    pictures: Int[np.ndarray, " thing"]
    numbers: Int[np.ndarray, " thing"]
    labels: Int[np.ndarray, " thing"]
    windows: Int[np.ndarray, "thing 4"]

    def __len__(self) -> int:
        return len(self.pictures)

    def category(self, thing: int) -> str:
        return CLASSES[self.labels[thing]]

    def picture(self, thing: int) -> str:
        """The name of the picture that shows a thing."""
        return self._source.name_of(int(self.pictures[thing]))

    def name(self, thing: int) -> str:
        """The name of the thing's file in an image folder: CATEGORY/NAME."""
        return f"{self.category(thing)}/{thing_name(self.picture(thing), int(self.numbers[thing]))}"

    def scene(self, thing: int) -> str:
        return scene_of(self.picture(thing))

    def shards(self, thing: int) -> tuple[Path, ...]:
        """The files that hold a thing's picture."""
        return self._source.files_of(int(self.pictures[thing]))

    def read(self, thing: int) -> UInt8[np.ndarray, "row column 3"]:
        """Read the crop of a thing.

        Raises:
            DataError: if its picture cannot be read.
        """
        pixels = decode_rgb(self._source.read(int(self.pictures[thing])), name=self.picture(thing))
        top, bottom, left, right = self.windows[thing].tolist()
        return pixels[top:bottom, left:right]

    @property
    def _source(self) -> Source:
        (source,) = self.dataset.sources()
        return source


def find_places(
    dataset: SegmentationDataset, least: int = LEAST, progress: Progress = lambda done: None
) -> ThingPlaces:
    """Find the places of all things, from labels and instances.

    Args:
        dataset: the pictures of a split of `objects`.
        least: smallest size of a thing: pixels of its larger side.

    Raises:
        DataError: if a picture cannot be read.
    """
    (source,) = dataset.sources()
    rows: list[tuple[str, str, list[int]]] = []
    for index in range(len(source)):
        for number, category, (high, wide) in read_windows(source, index, least):
            row = [index, number, CLASSES.index(category), high.start, high.stop, wide.start, wide.stop]
            rows.append((category, thing_name(source.name_of(index), number), row))
        progress(index + 1)
    found = np.array([row for _, _, row in sorted(rows)], dtype=np.int32).reshape(-1, 7)
    return ThingPlaces(dataset, found[:, 0], found[:, 1], found[:, 2], found[:, 3:])


def kept_places(dataset: SegmentationDataset, progress: Progress = lambda done: None) -> ThingPlaces:
    """As `find_places`, but read the table from the cache folder if it is there; else store it there if possible.

    Several processes may do so at the same time: they all write the same table, each atomically.
    """
    path = _place(dataset)
    with suppress(DataError):
        stored = read_npz(path, _ARRAYS)
        if set(stored) == set(_ARRAYS) and len({len(array) for array in stored.values()}) == 1:
            return ThingPlaces(dataset, *(stored[name] for name in _ARRAYS))
    found = find_places(dataset, progress=progress)
    with suppress(WriteError):  # if the cache cannot be written, they are found again next time
        write_npz(path, {name: getattr(found, name) for name in _ARRAYS})
    return found


def _place(dataset: SegmentationDataset) -> Path:
    inputs = stamped(dataset.inputs_of(index) for index in range(len(dataset)))
    rule = (FORMAT, LEAST, MARGIN, CLASSES)
    return cache_folder() / "things" / f"{text_sha256(f'{rule} {inputs.digest()}')[:24]}.npz"
