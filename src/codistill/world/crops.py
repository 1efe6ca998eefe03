"""Crop single things of a world: pictures of `objects` in, an image folder ROOT/{train,val,test}/CLASS/IMAGE.png out.

The crops are for image classifiers (`linear`, `knn`), which can also read them from the world itself
(`thing_places.py`). A thing is the set of pixels with one instance number. Its crop is the square around it, with a
margin; its class is that of most of its pixels. Things of one scene form one group (`groups.json`).
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from codistill.data import Source
from codistill.errors import DataError
from codistill.files.json_files import write_json
from codistill.files.writing import folder_atomically
from codistill.imaging import decode_map, decode_rgb
from codistill.world.categories import CATEGORIES
from codistill.world.classes import CLASSES, IGNORE
from codistill.world.dataset import World
from codistill.world.identity import SPLITS, scene_of

MARGIN = 0.15
"""Margin on each side, as a share of the thing's larger side."""

LEAST = 24
"""Smallest size of a thing: pixels of its larger side."""

_NAMES = frozenset(CATEGORIES)


@dataclass(frozen=True)
class Thing:
    """A crop of one thing.

    Attributes:
        picture: (row, column, 3) uint8, square unless cut by the border of the original picture.
        category: category of the thing.
        name: name of its file.
        scene: scene of the original picture.
    """

    picture: np.ndarray
    category: str
    name: str
    scene: str


def windows_of(
    labels: np.ndarray, instances: np.ndarray, least: int
) -> Iterator[tuple[int, str, tuple[slice, slice]]]:
    """Yield number, category and window (rows, columns) of every thing that is large enough, in order of numbers.

    Args:
        labels: (row, column), index into `CLASSES`, 255 for ignored pixels.
        instances: (row, column), 0 where there is no thing.
        least: smallest size of a thing: pixels of its larger side.
    """
    for number in np.unique(instances[instances > 0]).tolist():
        mask = instances == number
        counts = np.bincount(labels[mask & (labels != IGNORE)], minlength=len(CLASSES))
        category = CLASSES[int(counts.argmax())]
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
        if not counts.any() or category not in _NAMES or side < least:
            continue
        half = side / 2 + MARGIN * side
        middle = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
        top, left = (max(0, round(m - half)) for m in middle)
        bottom, right = (min(end, round(m + half)) for m, end in zip(middle, mask.shape, strict=True))
        yield number, category, (slice(top, bottom), slice(left, right))


def read_windows(source: Source, index: int, least: int) -> list[tuple[int, str, tuple[slice, slice]]]:
    """As `windows_of`, for a picture in shards; only its maps are read, not its pixels.

    Raises:
        DataError: if its maps cannot be read.
    """
    name = source.name_of(index)
    labels, instances = (
        decode_map(source.read_member(index, member), name=f"{name} {member}").astype(np.uint8)
        for member in ("labels.png", "instances.png")
    )
    return list(windows_of(labels, instances, least))


def thing_name(picture: str, number: int) -> str:
    """A thing's name in image folders, from the name of its picture and its instance number."""
    return f"{picture.replace('/', '-')}-{number}.png"


def read_things(source: Source, index: int, least: int) -> list[Thing]:
    """Crop the things of a picture.

    Raises:
        DataError: if the picture cannot be read.
    """
    name = source.name_of(index)
    pixels = decode_rgb(source.read(index), name=name)
    return [
        Thing(pixels[window], category, thing_name(name, number), scene_of(name))
        for number, category, window in read_windows(source, index, least)
    ]


def write_things(
    world: World, out: Path, *, least: int = LEAST, progress: Callable[[int], None] = lambda _: None
) -> dict[str, int]:
    """Write all things of a world's `objects` as an image folder.

    Args:
        world: a world with the domain `objects`.
        out: folder to create.
        least: smallest size of a thing: pixels of its larger side.
        progress: called for every picture.

    Returns:
        Number of things by split.

    Raises:
        DataError: if the folder exists, the world has no `objects`, or a split has a category that `train` lacks.
    """
    if out.exists():
        raise DataError(f"{out}: exists already. Name another folder.")
    groups: dict[str, dict[str, str]] = {}
    with folder_atomically(out) as building:
        for split in SPLITS:
            found: dict[str, str] = {}
            (source,) = world.segmentation(split).sources()
            for index in range(len(source)):
                for thing in read_things(source, index, least):
                    folder = building / split / thing.category
                    folder.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(thing.picture).save(folder / thing.name)
                    found[f"{thing.category}/{thing.name}"] = thing.scene
                progress(1)
            groups[split] = found
            trained, there = ({name.split("/")[0] for name in groups[s]} for s in ("train", split))
            check_categories(world.root, split, there, trained, least)
        write_json(building / "groups.json", groups)
    return {split: len(found) for split, found in groups.items()}


def check_categories(
    root: Path, split: str, there: Collection[str], trained: Collection[str], least: int = LEAST
) -> None:
    """Raise DataError if a split of a world has no thing, or a category that `train` lacks."""
    advice = "Build a larger world, or cut out smaller things (`codistill world things --least`)"
    if not there:
        raise DataError(f"{root}: no thing of {split} has {least} pixels a side. {advice}.")
    surplus = sorted(set(there) - set(trained))
    if surplus:
        raise DataError(
            f"{root}: the split {split} has things that train lacks ({', '.join(surplus[:3])}). {advice}."
        )
