"""Pictures on which exported files are checked, drawn or the user's own: sizes in, uint8 images out."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from codistill.data.opening import open_source
from codistill.data.source import SourceConfig
from codistill.deploy.check import Pictures
from codistill.imaging import decode_rgb, read_rgb, resize_rgb

_COUNT = 16


def generated_pictures(count: int, rows: int, columns: int) -> Tensor:
    """Draw textured rectangles and discs on a gradient, (batch, row, column, 3) uint8; always the same pictures."""
    source = open_source(SourceConfig(name="pictures to check on", path=str(_COUNT), kind="generated"))
    images = (
        decode_rgb(source.read(index % _COUNT), name=source.name_of(index % _COUNT)) for index in range(count)
    )
    return torch.stack([torch.from_numpy(resize_rgb(image, (rows, columns)).copy()) for image in images])


def photographs(paths: Sequence[Path]) -> Pictures:
    """Use image files, each resized to the requested size; they are repeated if more are needed.

    Raises:
        DataError: (when called) if one does not decode.
    """

    def make(count: int, rows: int, columns: int) -> Tensor:
        images = (read_rgb(paths[index % len(paths)]) for index in range(count))
        return torch.stack([torch.from_numpy(resize_rgb(image, (rows, columns)).copy()) for image in images])

    return make
