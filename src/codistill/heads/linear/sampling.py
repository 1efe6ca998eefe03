"""Features at single pixels of a bilinearly resized map, without resizing the map.

A linear head commutes with bilinear resizing (whose weights sum to 1), so the loss at a few random pixels is an
unbiased estimate of the full loss at a small part of its cost. Fits on cached features rely on this.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True)
class Corners:
    """The four map cells that bilinear resizing mixes at each pixel, and their weights.

    Attributes:
        cells: (..., 4) indices into the flattened map.
        weights: (..., 4), summing to 1.
    """

    cells: Int[Tensor, "*pixels 4"]
    weights: Float[Tensor, "*pixels 4"]


def _axis(index: Tensor, source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper source index for target indices along an axis, and the weight of the upper one."""
    place = ((index.double() + 0.5) * (source / target) - 0.5).clamp(min=0.0)  # half-pixel centres
    low = place.floor().long().clamp(max=source - 1)  # clamped, since interpolate repeats the border
    return low, (low + 1).clamp(max=source - 1), (place - low).float()


def corners_of(
    rows: Int[Tensor, "*pixels"],
    columns: Int[Tensor, "*pixels"],
    source: tuple[int, int],
    target: tuple[int, int],
) -> Corners:
    """Corners of target pixels in a source map, as in `interpolate(mode="bilinear", align_corners=False)`.

    Args:
        rows, columns: pixels of the target.
        source: rows and columns of the map.
        target: rows and columns to which the map is resized.
    """
    top, bottom, down = _axis(rows, source[0], target[0])
    left, right, across = _axis(columns, source[1], target[1])
    width = source[1]
    cells = (top * width + left, top * width + right, bottom * width + left, bottom * width + right)
    weights = ((1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across)
    return Corners(torch.stack(cells, dim=-1), torch.stack(weights, dim=-1))


def features_at(
    tokens: Float[Tensor, "batch patch channel"], corners: Corners
) -> Float[Tensor, "batch pixel channel"]:
    """Interpolated tokens at pixels.

    Args:
        tokens: tokens of each image, row-major over the map.
        corners: cells and weights (batch, pixel, 4).
    """
    batch, patches, channels = tokens.shape
    first = torch.arange(batch, device=tokens.device)[:, None, None] * patches  # offset into the flat table
    index = (corners.cells + first).flatten(0, 1)  # (batch x pixel, 4)
    weights = corners.weights.flatten(0, 1)
    table = tokens.flatten(0, 1).float()  # (batch x patch, channel)
    # This fuses gather and weighted sum: a tensor (batch, pixel, 4, channel) is never made.
    mixed = embedding_bag(index, table, per_sample_weights=weights, mode="sum")
    return mixed.view(batch, -1, channels)
