"""Where a world's single things are in its pictures: found once by their truth, kept as a small table, cut when read.

The table lies in the cache folder under a name that follows from the shards (names, sizes, times of change): a world
that changed has another one. Things are those of `crops.py`.
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
"""Of the table, and of the rule that `crops.windows_of` is: another rule needs another number."""

_ARRAYS = ("pictures", "numbers", "labels", "windows")
Progress = Callable[[int], None]
"""Called with pictures done."""


@dataclass(frozen=True)
class ThingPlaces:
    """The things of a split, by category and name.

    Attributes:
        dataset: the pictures.
        pictures: of each thing, the number of its picture.
        numbers: its number in the picture's instances.
        labels: index into `CLASSES`.
        windows: top, bottom, left, right.
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
        """The name of the picture that a thing is in."""
        return self._source.name_of(int(self.pictures[thing]))

    def name(self, thing: int) -> str:
        """As the thing's file is called in an image folder: CATEGORY/NAME."""
        return f"{self.category(thing)}/{thing_name(self.picture(thing), int(self.numbers[thing]))}"

    def scene(self, thing: int) -> str:
        return scene_of(self.picture(thing))

    def shards(self, thing: int) -> tuple[Path, ...]:
        """The files that a thing's picture is in."""
        return self._source.files_of(int(self.pictures[thing]))

    def read(self, thing: int) -> UInt8[np.ndarray, "row column 3"]:
        """The crop of a thing.

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
    """The places of all things, read from labels and instances.

    Args:
        dataset: the pictures of a split of `objects`.
        least: pixels of the larger side of the smallest thing.

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
    """As `find_places`, from the cache folder where it has the table; else it is found, and kept there if that can be.

    Of several processes that look at once, all keep the same table, each whole.
    """
    path = _place(dataset)
    with suppress(DataError):
        stored = read_npz(path, _ARRAYS)
        if set(stored) == set(_ARRAYS) and len({len(array) for array in stored.values()}) == 1:
            return ThingPlaces(dataset, *(stored[name] for name in _ARRAYS))
    found = find_places(dataset, progress=progress)
    with suppress(WriteError):  # without a cache they are found again
        write_npz(path, {name: getattr(found, name) for name in _ARRAYS})
    return found


def _place(dataset: SegmentationDataset) -> Path:
    inputs = stamped(dataset.inputs_of(index) for index in range(len(dataset)))
    rule = (FORMAT, LEAST, MARGIN, CLASSES)
    return cache_folder() / "things" / f"{text_sha256(f'{rule} {inputs.digest()}')[:24]}.npz"
