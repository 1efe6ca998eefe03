"""Pictures that are still to be read, from files or shards; batches of them, prepared by loader workers, come out."""

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
    """A picture that is still to be read."""

    @property
    def name(self) -> str:
        """For results and errors."""
        ...

    @property
    def files(self) -> SampleInputs:
        """What its pixels come from."""
        ...

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        """Its pixels; DataError if it cannot be used."""
        ...


Pictures = Samples | Sequence[Picture]
"""Samples that are `Picture`s."""


@dataclass(frozen=True)
class FilePicture:
    """An image file.

    Attributes:
        path: of the file.
        root: of the data set; None: it has none.
    """

    path: Path
    root: Path | None = None

    @property
    def name(self) -> str:
        """Its path, below the root where there is one."""
        return str(self.path if self.root is None else self.path.relative_to(self.root))

    @property
    def files(self) -> SampleInputs:
        return (self.path,)

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        return read_rgb(self.path)


@dataclass(frozen=True)
class SourcePicture:
    """A picture of a source of the data layer: its shards, mostly.

    Attributes:
        source: opens its files at the first access.
        index: of the picture.
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
    """The numbers 0..count-1 in order, `size` at a time."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def check_pictures(pictures: Pictures) -> None:
    """Read `CHECKED` pictures, evenly spread, before anything is computed; the rest is checked as it is read.

    Raises:
        DataError: if one cannot be used.
    """
    for index in spread(len(pictures), CHECKED):
        pictures[index].read()


@dataclass(frozen=True)
class _Prepared(Dataset[Tensor]):
    """Batches (image, row, column, 3) uint8 by the numbers of their pictures."""

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
    """Pictures as batches, in order.

    Args:
        pictures: map-style and picklable.
        batches: numbers of their pictures.
        prepare: gives (row, column, 3) uint8 of one size; picklable.
        workers, device: see `made_by_workers`.

    Raises:
        DataError: if a picture cannot be used.
    """
    return made_by_workers(_Prepared(pictures, prepare), batches, workers=workers, device=device)
