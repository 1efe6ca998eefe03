"""Pictures on which exported files are checked, drawn or the user's own: numbers and a size in, uint8 images out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codistill.data.opening import open_source
from codistill.data.source import SourceConfig
from codistill.imaging import decode_rgb, read_rgb, resize_rgb


@dataclass(frozen=True)
class Pictures:
    """A sequence of pictures, which begins again after the last one.

    Attributes:
        about: description of all of them, after a number: `4 of the drawn pictures`.
        count: how many there are.
        read: function from a number below `count` to a picture (row, column, 3) uint8.
    """

    about: str
    count: int
    read: Callable[[int], np.ndarray]

    def batch(self, numbers: range, rows: int, columns: int) -> Tensor:
        """Some of them, resized: (batch, row, column, 3) uint8."""
        images = (self.read(number % self.count) for number in numbers)
        return torch.stack([torch.from_numpy(resize_rgb(image, (rows, columns)).copy()) for image in images])


def drawn_pictures() -> Pictures:
    """Textured rectangles and discs on a gradient; always the same pictures."""
    source = open_source(SourceConfig(name="pictures to check on", path="16", kind="generated"))
    return Pictures(
        "of the drawn pictures",
        len(source),
        lambda number: decode_rgb(source.read(number), name=source.name_of(number)),
    )


def photographs(paths: Sequence[Path]) -> Pictures:
    """Image files; one that does not decode raises a DataError when it is read."""
    return Pictures("of the user's images", len(paths), lambda number: read_rgb(paths[number]))
