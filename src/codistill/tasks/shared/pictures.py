"""Pictures in files or shards that are read only when needed, and batches of them prepared by loader workers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from codistill.data import Source
from codistill.imaging import decode_rgb, read_rgb
from codistill.tasks.shared.data import CHECKED, spread
from codistill.tasks.shared.inputs import SampleInputs, Samples
from codistill.tasks.shared.workers import made_by_workers


class Picture(Protocol):
    """A picture whose pixels are not yet read."""

    @property
    def name(self) -> str:
        """Name in results and errors."""
        ...

    @property
    def files(self) -> SampleInputs:
        """Files from which the pixels come."""
        ...

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        """Read the pixels; raises DataError if the picture cannot be used."""
        ...


Pictures = Samples | Sequence[Picture]
"""Samples that are `Picture`s."""


@dataclass(frozen=True)
class FilePicture:
    """An image file.

    Attributes:
        path: path of the file.
        root: root folder of the data set; None if it has none.
    """

    path: Path
    root: Path | None = None

    @property
    def name(self) -> str:
        """Path of the file, relative to the root if there is one."""
        return str(self.path if self.root is None else self.path.relative_to(self.root))

    @property
    def files(self) -> SampleInputs:
        return (self.path,)

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        return read_rgb(self.path)


@dataclass(frozen=True)
class SourcePicture:
    """A picture of a `Source` of the data layer, mostly in its shards.

    Attributes:
        source: opens its files at the first access.
        index: index of the picture.
    """

    source: Source
    index: int

    @property
    def name(self) -> str:
        return self.source.name_of(self.index)

    @property
    def files(self) -> SampleInputs:
        return (*self.source.files_of(self.index), (self.name, ""))

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        return decode_rgb(self.source.read(self.index), name=self.name)


def in_batches(count: int, size: int) -> list[range]:
    """Indices 0..count-1 in order, in ranges of `size`."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def check_pictures(pictures: Pictures) -> None:
    """Read `CHECKED` evenly spread pictures before anything is computed; the others are checked when they are read.

    Raises:
        DataError: if one of them cannot be used.
    """
    for index in spread(len(pictures), CHECKED):
        pictures[index].read()


@dataclass(frozen=True)
class _Prepared(Dataset[Tensor]):
    """Data set of batches (image, row, column, 3) uint8, indexed by lists of picture indices."""

    pictures: Pictures
    prepare: Callable[[np.ndarray], np.ndarray]

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self.prepare(self.pictures[row].read()) for row in rows]))


def prepared_batches(
    pictures: Pictures,
    batches: Iterable[Sequence[int]],
    prepare: Callable[[np.ndarray], np.ndarray],
    *,
    workers: int | None,
    device: torch.device,
) -> Iterator[UInt8[Tensor, "image row column 3"]]:
    """Read and prepare pictures in batches, in order.

    Args:
        pictures: a map-style, picklable data set.
        batches: indices of the pictures of each batch.
        prepare: returns (row, column, 3) uint8 of one size; picklable.
        workers, device: see `made_by_workers`.

    Raises:
        DataError: if a picture cannot be used.
    """
    return made_by_workers(_Prepared(pictures, prepare), batches, workers=workers, device=device)
