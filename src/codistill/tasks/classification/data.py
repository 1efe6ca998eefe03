"""Image folders: ROOT/{train,val}/CLASS/IMAGE in, paths and class numbers out, checked.

`val` may be called `test`. Classes are the folders of `train`, in alphabetical order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import DataError
from codistill.files.inputs import Inputs, fact, stamped
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver, list_folders, walk_files
from codistill.imaging import read_rgb
from codistill.tasks.shared.data import CHECKED, spread
from codistill.tasks.shared.groups import Groups, groups_of

LAYOUT = "ROOT/train/CLASS/IMAGE and ROOT/val/CLASS/IMAGE (or test in place of val)"


@dataclass(frozen=True)
class ImageFolder:
    """A split of an image folder.

    Attributes:
        root: the folder. split: `train` or `val`.
        paths: of the images.
        labels: (image,) class numbers.
        groups: which images belong together.
        classes: names by number.
    """

    root: Path
    split: str
    paths: tuple[Path, ...]
    labels: np.ndarray
    groups: Groups
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def inputs(self) -> Inputs:
        """What the images and their classes are made from today."""
        names = (self.classes[label] for label in self.labels.tolist())
        rows = ((path, fact(f"class of {path}", name)) for path, name in zip(self.paths, names, strict=True))
        return stamped(rows, (fact("the classes", *self.classes),))

    def limited(self, limit: int | None) -> "ImageFolder":
        """`limit` evenly spread images, or all."""
        if limit is None or limit >= len(self):
            return self
        if limit < 1:
            raise DataError(f"the number of images must be 1 or more; got {limit}")
        return self.chosen(np.array(spread(len(self), limit)))

    def chosen(self, indices: np.ndarray) -> "ImageFolder":
        """Some of the images."""
        paths = tuple(self.paths[index] for index in indices.tolist())
        groups = self.groups.at(indices.tolist())
        return ImageFolder(self.root, self.split, paths, self.labels[indices], groups, self.classes)


def open_image_folder(root: str | Path, split: str) -> ImageFolder:
    """A split of an image folder.

    Raises:
        DataError: if it lies otherwise than expected, a class is empty, or a class of `val` is not in `train`.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Expected layout: {LAYOUT}")
    classes = _class_names(root / "train")
    if len(classes) < 2:
        raise DataError(f"{root / 'train'}: {len(classes)} classes found, two are needed. Expected: {LAYOUT}")
    folder = _split_folder(root, split)
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
    for name in there:
        found = sorted(folder / name / path for path in walk_files(folder / name, IMAGE_SUFFIXES, passed))
        if not found:
            raise DataError(f"{folder / name}: no images ({', '.join(IMAGE_SUFFIXES)})")
        paths += found
        labels += [known[name]] * len(found)
    passed.say(folder)
    if split == "train" and len(there) < len(classes):
        raise DataError(f"{folder}: misses classes")
    names = [path.relative_to(folder).as_posix() for path in paths]
    groups = groups_of(root, split, names)
    return ImageFolder(root, split, tuple(paths), np.array(labels, dtype=np.int64), groups, classes)


def check_images(data: ImageFolder) -> None:
    """Read some images before anything is computed; the rest is checked as it is read.

    Raises:
        DataError: if one cannot be used.
    """
    for index in spread(len(data), CHECKED):
        read_rgb(data.paths[index])


def _split_folder(root: Path, split: str) -> Path:
    names = {"train": ("train",), "val": ("val", "test"), "test": ("test", "val")}
    if split not in names:
        raise DataError(f"{root}: has the splits train and val; got {split!r}")
    found = next((root / name for name in names[split] if (root / name).is_dir()), None)
    if found is None:
        raise DataError(f"{root}: has no folder {' or '.join(names[split])}. Expected layout: {LAYOUT}")
    return found


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected layout: {LAYOUT}")
    return tuple(path.name for path in list_folders(folder))
