"""Open images with one class each, from an image folder or the objects of an embedded world, and check them.

In a folder ROOT/{train,val}/CLASS/IMAGE, `val` may be called `test`. The classes are those of `train`, in alphabetical
order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from codistill.errors import ConfigError, DataError
from codistill.files.inputs import Row, fact
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver, list_folders, say, walk_files
from codistill.tasks.classification.world_things import WorldThings
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.tasks.shared.inputs import SampleInputs
from codistill.tasks.shared.pictures import FilePicture, Picture, check_pictures
from codistill.tasks.shared.progress import Lines
from codistill.world.classes import CLASSES
from codistill.world.crops import LEAST, check_categories
from codistill.world.dataset import World
from codistill.world.thing_places import ThingPlaces, kept_places

EXPECTED = "ROOT/train/CLASS/IMAGE and ROOT/val/CLASS/IMAGE (or test in place of val)"


class ClassImage(Picture, Protocol):
    """An image with a class; its pixels are not yet read."""

    @property
    def label(self) -> int:
        """Number of its class."""
        ...


@dataclass(frozen=True)
class ClassFile(FilePicture):
    """An image file with a class.

    Attributes:
        label: number of the class.
    """

    label: int = field(kw_only=True)


@dataclass(frozen=True)
class ClassImages:
    """Image files with their classes, as a map-style data set; nothing is read yet.

    Attributes:
        root: root folder of the data set.
        paths, labels: file and class number of each image.
        groups: group of each image; a group is split and resampled as a whole.
        classes: names of the classes, by number.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    groups: Groups
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ClassFile:
        return ClassFile(self.paths[index], self.root, label=self.labels[index])

    def inputs_of(self, index: int) -> SampleInputs:
        """The image file and its class."""
        path = self.paths[index]
        return path, fact(f"class of {path}", self.classes[self.labels[index]])

    def shared_inputs(self) -> Row:
        """Names of all classes, since class numbers depend on them."""
        return (fact("the classes", *self.classes),)


@dataclass(frozen=True, kw_only=True)
class ClassificationData(TaskData):
    """A split whose samples are `ClassImage`.

    Attributes:
        classes: names of the classes, by number.
    """

    classes: tuple[str, ...]

    def images(self) -> list[ClassImage]:
        return [self.samples[index] for index in range(len(self.samples))]

    def labels(self) -> np.ndarray:
        """Class numbers (image,)."""
        return np.array([image.label for image in self.images()], dtype=np.int64)


def open_folder(where: Where) -> ClassificationData:
    """Open a split of an image folder.

    Raises:
        DataError: if the layout differs, a class is empty, or a class of `val` is not in `train`.
    """
    root = where.root
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Expected layout: {EXPECTED}")
    classes = _class_names(root / "train")
    if len(classes) < 2:
        raise DataError(
            f"{root / 'train'}: {len(classes)} classes found, two are needed. Expected: {EXPECTED}"
        )
    folder = root / where.split
    other = "test" if where.split == "val" else "val"
    if not folder.is_dir() and (root / other).is_dir():
        raise DataError(f"{folder}: no such folder, but {other} is there: --split {other} scores it")
    known = {name: number for number, name in enumerate(classes)}
    there = _class_names(folder)
    surplus = sorted(set(there) - set(known))
    if surplus:
        raise DataError(
            f"{folder}: has {len(surplus)} classes that {root / 'train'} lacks: {', '.join(surplus[:3])}"
        )
    paths: list[Path] = []
    labels: list[int] = []
    passed = PassedOver()
    for loose in walk_files(folder, IMAGE_SUFFIXES, passed, deep=False):
        passed.add("images outside of the classes' folders", loose)
    if not there:
        raise DataError(
            f"{folder}: no folders of classes ({passed or 'nothing'} found). Expected: {EXPECTED}"
        )
    for name in there:
        found = sorted(folder / name / path for path in walk_files(folder / name, IMAGE_SUFFIXES, passed))
        if not found:
            raise DataError(f"{folder / name}: no images ({', '.join(IMAGE_SUFFIXES)})")
        paths += found
        labels += [known[name]] * len(found)
    passed.say(folder)
    groups = groups_of(root, where.split, [path.relative_to(folder).as_posix() for path in paths])
    return ClassificationData(
        spec=where.spec,
        split=where.split,
        samples=ClassImages(root, tuple(paths), tuple(labels), groups, classes),
        classes=classes,
    )


def open_world(where: Where) -> ClassificationData:
    """Open the objects in a split of an embedded world; `codistill world things` writes the same images to a folder.

    Objects are cropped from the shards when they are read. Their places are found once and stored
    (`world/thing_places.py`).

    Raises:
        DataError: if the world has no domain `objects`, or a split has no objects, or objects of a category that
            `train` lacks.
    """
    world = World(where.root)
    trained, places = (_places(world, split) for split in ("train", where.split))
    classes = tuple(sorted({CLASSES[label] for label in np.unique(trained.labels)}))
    there = {CLASSES[label] for label in np.unique(places.labels)}
    check_categories(world.root, "train", classes, classes)
    check_categories(world.root, where.split, there, classes)
    if len(classes) < 2:
        raise DataError(f"{world.root}: all things of train are of one category, and two are needed")
    return ClassificationData(
        spec=where.spec,
        split=where.split,
        samples=WorldThings(places, classes),
        classes=classes,
        notes=(
            f"{where.split}: {len(places)} things of {len(there)} categories, {LEAST} pixels large or more",
        ),
    )


def _places(world: World, split: str) -> ThingPlaces:
    pictures = world.segmentation(split)
    return kept_places(pictures, Lines(say, f"{world.root}: finding the things of {split}", len(pictures)))


LAYOUTS = {
    "folder": Layout(
        open_folder,
        "image folders: SPLIT/CLASS/IMAGE",
        ("train", "val", "test"),
        exception=("val", "as everybody scores ImageNet, whose test has no labels"),
    ),
    "world": Layout(open_world, "single things of the embedded world's objects", ("train", "val", "test")),
}
"""Layouts by name, the word before the colon."""


def check_images(data: ClassificationData, training: bool) -> list[str]:
    """Read some images before anything is computed; the others are checked when they are read.

    Raises:
        DataError: if one of them cannot be used.
    """
    check_pictures(data.samples)
    return []


def check_classes(data: ClassificationData, known: Sequence[str]) -> None:
    """Raise ConfigError if a head was fitted on other classes."""
    if data.classes != tuple(known):
        raise ConfigError(
            f"{data.spec} has {len(data.classes)} classes, the head {len(known)}, and they must be the same: fit a "
            "head for this data"
        )


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected layout: {EXPECTED}")
    return tuple(path.name for path in list_folders(folder))
