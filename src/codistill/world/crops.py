"""Single things of a world as an image folder: pictures of `objects` in, ROOT/{train,val,test}/CLASS/IMAGE.png out.

For classifiers of whole images (`linear`, `knn`). A thing is what one instance number marks; its picture is the square
around it, with a margin, of the class that most of its pixels have. Things of one scene are one group (`groups.json`).
"""

from collections.abc import Callable, Iterator
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
"""Of the thing's larger side, on each side."""

_NAMES = frozenset(CATEGORIES)


@dataclass(frozen=True)
class Thing:
    """A crop of one thing.

    Attributes:
        picture: (row, column, 3) uint8, square unless the picture's edge cuts it.
        category: of the thing.
        name: of the picture that it is in, and its number there.
        scene: of that picture.
    """

    picture: np.ndarray
    category: str
    name: str
    scene: str


def things_of(
    pixels: np.ndarray, labels: np.ndarray, instances: np.ndarray, least: int
) -> Iterator[tuple[int, str, np.ndarray]]:
    """Number, category and crop of every thing that is large enough, by number.

    Args:
        pixels: (row, column, 3) uint8.
        labels: (row, column), index into `CLASSES`, 255 to be ignored.
        instances: (row, column), 0 where there is no thing.
        least: pixels of the larger side of the smallest thing.
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
        yield number, category, pixels[top:bottom, left:right]


def read_things(source: Source, index: int, least: int) -> list[Thing]:
    """The things of a picture.

    Raises:
        DataError: if the picture cannot be read.
    """
    name = source.name_of(index)
    pixels = decode_rgb(source.read(index), name=name)
    labels, instances = (
        decode_map(source.read_member(index, member), name=f"{name} {member}").astype(np.uint8)
        for member in ("labels.png", "instances.png")
    )
    return [
        Thing(crop, category, f"{name.replace('/', '-')}-{number}", scene_of(name))
        for number, category, crop in things_of(pixels, labels, instances, least)
    ]


def write_things(
    world: World, out: Path, *, least: int = 24, progress: Callable[[int], None] = lambda _: None
) -> dict[str, int]:
    """Write all things of a world's `objects` as an image folder.

    Args:
        world: with the domain `objects`.
        out: folder to make.
        least: pixels of the larger side of the smallest thing.
        progress: told of every picture.

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
                    Image.fromarray(thing.picture).save(folder / f"{thing.name}.png")
                    found[f"{thing.category}/{thing.name}.png"] = thing.scene
                progress(1)
            if not found:
                raise DataError(f"{world.root}: no thing of {split} has {least} pixels a side: lower --least")
            groups[split] = found
        write_json(building / "groups.json", groups)
        _check_categories(building, world.root)
    return {split: len(found) for split, found in groups.items()}


def _check_categories(folder: Path, root: Path) -> None:
    known = {path.name for path in (folder / "train").iterdir()}
    for split in SPLITS:
        surplus = sorted(path.name for path in (folder / split).iterdir() if path.name not in known)
        if surplus:
            raise DataError(
                f"{root}: the split {split} has things that train lacks ({', '.join(surplus[:3])}): build a larger "
                "world, or lower --least"
            )
