"""Images with dense ground truth from any source: a protocol, folders of file pairs, and the check before training.

A data set that is incomplete, of the wrong resolution or with unexpected values is refused before anything is computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from codistill.errors import DataError
from codistill.files.inputs import Row, content_part
from codistill.files.lines import read_lines
from codistill.files.listing import PassedOver, any_case, by_stem, list_files, list_folders
from codistill.files.specs import parse_spec as parse_spec
from codistill.imaging import decode_map, read_file, read_rgb
from codistill.tasks.shared.groups import Groups, groups_of, named_groups
from codistill.tasks.shared.inputs import SampleInputs, sample_inputs, shared_inputs

CHECKED = 64
"""Number of samples read before training, evenly spread; the others are checked when they are read."""


@dataclass(frozen=True)
class DenseSample:
    """An image with a target value for every pixel.

    Attributes:
        image: (row, column, 3) uint8.
        target: (row, column): classes (uint8, 255 ignored), or depth in metres (float32, 0 unknown); or unit normals
            (row, column, 3) (float32, 0 unknown).
        name: name of the sample in pictures and errors.
    """

    image: np.ndarray
    target: np.ndarray
    name: str


class DenseData(Protocol):
    """A map-style, picklable data set of `DenseSample`.

    Data in files implements `inputs_of` (`inputs.py`); it may have `groups` (`groups.py`).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> DenseSample: ...


@dataclass(frozen=True)
class FilePairs:
    """Pairs of an image file and a PNG with a target value for every pixel.

    Attributes:
        pairs: paths of image and target.
        groups: groups of the pairs.
        convert: turns the PNG's values into the target; raises DataError for impossible values.
        shape: rows and columns that every image must have, or None.
        about: small files that define the meaning of the values.
        decode: turns bytes and a name into values: `decode_map` or `decode_vectors`.
        middle: rows and columns of the central crop that is used; None for the whole image.
    """

    pairs: tuple[tuple[Path, Path], ...]
    groups: Groups
    convert: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, int] | None = None
    about: tuple[Path, ...] = ()
    decode: Callable[..., np.ndarray] = decode_map
    middle: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def inputs_of(self, index: int) -> SampleInputs:
        """The image file and its target file."""
        return self.pairs[index]

    def shared_inputs(self) -> Row:
        return tuple(content_part(path) for path in self.about)

    def __getitem__(self, index: int) -> DenseSample:
        image_path, target_path = self.pairs[index]
        image = read_rgb(image_path)
        values = self.decode(read_file(target_path), name=str(target_path))
        if image.shape[:2] != values.shape[:2]:
            raise DataError(
                f"{target_path} has {values.shape[0]}x{values.shape[1]} pixels and its image {image_path} "
                f"{image.shape[0]}x{image.shape[1]}: they must agree. Were images or labels resized?"
            )
        if self.shape is not None and image.shape[:2] != self.shape:
            raise DataError(
                f"{image_path} has {image.shape[0]}x{image.shape[1]} pixels; this data set has "
                f"{self.shape[0]}x{self.shape[1]} throughout. Take the original files, not resized ones."
            )
        try:
            target = self.convert(values)
        except DataError as error:
            raise DataError(f"{target_path}: {error}") from None
        window = middle_window(target.shape, self.middle or target.shape[:2])
        return DenseSample(image[window], target[window], image_path.name)


@dataclass(frozen=True)
class Subset:
    """Some samples of a data set, in the order given."""

    data: Any
    indices: tuple[int, ...]

    @property
    def groups(self) -> Groups:
        return named_groups(self.data).at(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.data[self.indices[index]]

    def inputs_of(self, index: int) -> SampleInputs:
        return sample_inputs(self.data, self.indices[index])

    def shared_inputs(self) -> Row:
        return shared_inputs(self.data)


def middle_window(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Slices (rows, columns) of the centre crop; an axis that is not longer than the crop is taken whole."""
    starts = [max(0, (side - length) // 2) for side, length in zip(shape[:2], size, strict=True)]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])


def spread(count: int, wanted: int) -> list[int]:
    """Choose `wanted` evenly spread indices of 0..count-1; all if there are no more than that."""
    if wanted >= count:
        return list(range(count))
    return [int((number + 0.5) * count / wanted) for number in range(wanted)]


def limited(data: Any, limit: int | None) -> Any:
    """The data set, or `limit` evenly spread samples of it."""
    if limit is not None and limit < 1:
        raise DataError(f"the number of samples must be 1 or more; got {limit}")
    return data if limit is None or limit >= len(data) else Subset(data, tuple(spread(len(data), limit)))


def check_samples(data: Any, training: bool = True) -> list[str]:
    """Read `CHECKED` evenly spread samples before anything is computed; the others are checked when they are read.

    Args:
        data: a `TaskData`.
        training: whether a head will be fitted on it.

    Returns:
        No notes: an empty list.

    Raises:
        DataError: if the data is empty, or a sample cannot be used; the message names the file.
    """
    if len(data.samples) == 0:
        raise DataError(f"{data.spec} ({data.split}): there are no images")
    for index in spread(len(data.samples), CHECKED):
        data.samples[index]
    return []


def check_count(found: int, expected: int | None, name: str, partial: bool, what: str = "images") -> None:
    """Raise DataError if a data set has another number of images (or `what`) than published, unless `partial`."""
    if expected is not None and found != expected and not partial:
        raise DataError(
            f"{name}: {found} {what} found, {expected} expected: the data set is incomplete or another version. "
            "Complete it, or use the rest with --partial (its scores are then not comparable)."
        )


def pair_up(
    images: Sequence[Path], target_of: Callable[[Path], Path], name: str
) -> tuple[tuple[Path, Path], ...]:
    """Pair images with their targets.

    Raises:
        DataError: if an image has no target.
    """
    pairs = tuple((image, any_case(target_of(image))) for image in images)
    missing = [target for _, target in pairs if not target.is_file()]
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(pairs)} images have no label file; the first missing ones: "
            f"{', '.join(map(str, missing[:3]))}"
        )
    return pairs


def folder_pairs(
    root: Path, split: str, targets: str, layout: str
) -> tuple[tuple[tuple[Path, Path], ...], Groups]:
    """Pair the files of images/SPLIT and TARGETS/SPLIT of the same names; return pairs and groups.

    Targets are PNG files, or of another format if there is no PNG of the name. Targets without an image, and folders
    among the images, are counted and reported.

    Raises:
        DataError: if a folder or a file is missing, or there are no images; `layout` is shown in the message.
    """
    images = need_folder(root / "images" / split, layout)
    folder = need_folder(root / targets / split, layout)
    found = by_stem(list_files(images))
    if not found:
        raise DataError(
            f"{images}: no images lie in it (folders below it are not searched). Expected layout: {layout}"
        )
    passed = PassedOver()
    for below in list_folders(images):
        passed.add("folders, which are not searched", below.name)
    passed.say(images)
    files, passed = list_files(folder), PassedOver()
    for path in files:
        if path.stem not in found:
            passed.add("files without an image", path.name)
    passed.say(folder)
    usual = {path.stem for path in files if path.suffix.lower() == ".png"}
    others = by_stem(path for path in files if path.stem not in usual)

    def target_of(image: Path) -> Path:
        return others.get(image.stem, folder / f"{image.stem}.png")

    pairs = pair_up(list(found.values()), target_of, f"{root} ({split})")
    return pairs, groups_of(root, split, [path.name for path in found.values()])


def need_folder(folder: Path, layout: str) -> Path:
    """Return a folder, which must exist.

    Raises:
        DataError: if it does not exist; the message shows the expected layout.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected layout: {layout}")
    return folder


def read_list(path: Path, layout: str) -> list[str]:
    """Read the lines of a list, without empty ones.

    Raises:
        DataError: if the file does not exist, or is not UTF-8.
    """
    try:
        lines = read_lines(path)
    except DataError as error:
        raise DataError(f"{error}. Expected layout: {layout}") from error
    return [line for line in lines if line.strip()]
