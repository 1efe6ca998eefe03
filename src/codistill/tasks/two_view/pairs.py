"""Pairs of posed views: two images of one place with depth, intrinsics and camera poses.

Depth is in metres along z, 0 where unknown, infinite for sky. A data set without depth has zeros: it can be used for
evaluation, but not for training.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from codistill.errors import DataError
from codistill.files.inputs import fact
from codistill.geometry.cameras import check_focal
from codistill.imaging import decode_map, read_file, read_rgb
from codistill.imaging.depth16 import to_metres
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.data import CHECKED, spread
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.inputs import SampleInputs
from codistill.world.dataset import PairDataset


@dataclass(frozen=True)
class PosedImage:
    """One view: an image with depth and camera.

    Attributes:
        image: (row, column, 3) uint8.
        depth: (row, column) float32 metres along z; 0 unknown, infinite for sky.
        intrinsics: (3, 3), pixel centres at integers.
        camera_to_world: (4, 4), metres.
        name: name for errors.
    """

    image: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    camera_to_world: np.ndarray
    name: str


@dataclass(frozen=True)
class Pair:
    """Two posed images: the first is the reference, the second the query.

    Attributes:
        first, second: the views.
        overlap: share of each view that is visible in the other, averaged; NaN if unknown.
        name: name for errors and per-pair results.
    """

    first: PosedImage
    second: PosedImage
    overlap: float
    name: str

    @property
    def second_from_first(self) -> np.ndarray:
        """Transform (4, 4) from the first camera's coordinates to the second's."""
        return np.linalg.inv(self.second.camera_to_world) @ self.first.camera_to_world


class PairData(Protocol):
    """A map-style, picklable data set of `Pair`; may have `groups` (`shared/groups.py`).

    Data in files implements `inputs_of` (`shared/inputs.py`).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...


@dataclass(frozen=True)
class WorldPairs:
    """Pairs of views in the rooms of the embedded world."""

    samples: PairDataset

    @property
    def groups(self) -> Groups:
        """One group per room."""
        return Groups(self.samples.scenes(), "rooms")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        sample = self.samples[index]
        first, second = (
            PosedImage(
                image=sample.images[view].numpy(),
                depth=sample.depths[view].numpy(),
                intrinsics=sample.intrinsics[view].double().numpy(),
                camera_to_world=sample.poses[view].double().numpy(),
                name=f"{sample.name}, view {view + 1}",
            )
            for view in range(2)
        )
        return Pair(first, second, sample.overlap, sample.name)

    def inputs_of(self, index: int) -> SampleInputs:
        """The pair's shard, and its index in the shard."""
        return self.samples.inputs_of(index)


@dataclass(frozen=True)
class ViewFiles:
    """Files of a view.

    Attributes:
        image: its image file.
        depth: a PNG in the format of `imaging/depth16.py`, or None.
        intrinsics, camera_to_world: as in `PosedImage`.
        shape: rows and columns that the image must have, because its intrinsics are stated for them; None if unstated.
    """

    image: Path
    depth: Path | None
    intrinsics: np.ndarray
    camera_to_world: np.ndarray
    shape: tuple[int, int] | None = field(default=None, kw_only=True)

    def read(self) -> PosedImage:
        """Read image and depth.

        Raises:
            DataError: if a file cannot be used.
        """
        image = read_rgb(self.image)
        if self.shape is not None and image.shape[:2] != self.shape:
            raise DataError(
                f"{self.image} has {image.shape[0]}x{image.shape[1]} pixels, and its intrinsics are of "
                f"{self.shape[0]}x{self.shape[1]}. Take the original files, not resized ones."
            )
        check_focal(float(self.intrinsics.diagonal()[:2].min()), image.shape, f"camera of {self.image}")
        if self.depth is None:
            depth = np.zeros(image.shape[:2], dtype=np.float32)
        else:
            depth = _metres(self.depth)
            if depth.shape != image.shape[:2]:
                raise DataError(
                    f"{self.depth} has {depth.shape[0]}x{depth.shape[1]} pixels and its image {self.image} "
                    f"{image.shape[0]}x{image.shape[1]}: they must agree"
                )
        return PosedImage(image, depth, self.intrinsics, self.camera_to_world, str(self.image))

    @property
    def inputs(self) -> SampleInputs:
        """Image and depth file, and the camera."""
        camera = fact(f"camera of {self.image}", self.intrinsics.tolist(), self.camera_to_world.tolist())
        files = (self.image,) if self.depth is None else (self.image, self.depth)
        return (*files, camera)


def _metres(path: Path) -> np.ndarray:
    values = decode_map(read_file(path), name=str(path))
    try:
        return to_metres(values)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


@dataclass(frozen=True)
class FilePairs:
    """Pairs of views in files.

    Attributes:
        views: first and second view of each pair. overlaps: overlap of each pair, NaN if unknown.
        groups: groups of the pairs.
    """

    views: tuple[tuple[ViewFiles, ViewFiles], ...]
    overlaps: tuple[float, ...]
    groups: Groups

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Pair:
        first, second = self.views[index]
        name = f"{first.image} {second.image}"
        return Pair(first.read(), second.read(), self.overlaps[index], name)

    def inputs_of(self, index: int) -> SampleInputs:
        """Images, depth and cameras of both views."""
        first, second = self.views[index]
        return (*first.inputs, *second.inputs)


@dataclass(frozen=True, kw_only=True)
class PairsData(TaskData):
    """A split of posed pairs, whose samples are `PairData`.

    Attributes:
        size: rows and columns of all images, if the data set fixes them.
    """

    size: tuple[int, int] | None = None


def check_pairs(data: TaskData, training: bool) -> list[str]:
    """Read some pairs before anything is computed; training needs depth.

    Raises:
        DataError: if there are no pairs, or one cannot be used.
    """
    if len(data.samples) == 0:
        raise DataError(f"{data.spec} ({data.split}): there are no pairs")
    for index in spread(len(data.samples), CHECKED):
        pair = data.samples[index]
        for view in (pair.first, pair.second):
            if training and not (np.isfinite(view.depth) & (view.depth > 0)).any():
                raise DataError(
                    f"{view.name}: no depth is known, and training needs it. Give depth maps (16-bit PNG in "
                    "millimetres) beside the images; docs/two-view.md shows the layouts."
                )
    return []
