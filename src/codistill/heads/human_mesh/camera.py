"""Camera input of the human-mesh head: the ray of every cell with Fourier features, and depth relative to focal length.

Intrinsics are in pixels of the image that the encoder saw, with pixel centres at integers, as everywhere in codistill.
(The published code puts the image's *corner* at (0, 0): its principal points are larger by half a pixel.)

Source: Multi-HMR (arXiv 2402.14654), sections 3.2 and 3.3.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.cameras import focal_from_field_of_view
from codistill.geometry.projection import unproject

REFERENCE_FIELD_OF_VIEW = 60.0
"""Field of view in degrees across the image's longer side at which encoded depth equals log-depth."""

_TINY = 1e-10
"""Metres that the published code adds to depth before the logarithm."""


def cell_centers(
    row: Float[Tensor, "*cell"], column: Float[Tensor, "*cell"], patch_size: int
) -> Float[Tensor, "*cell 2"]:
    """Pixels (x, y) of cell centres; fractional rows and columns are positions within a cell."""
    return torch.stack((column, row), dim=-1) * patch_size + (0.5 * patch_size - 0.5)


def cell_rays(
    intrinsics: Float[Tensor, "batch 3 3"], grid: tuple[int, int], patch_size: int, *, swapped: bool = False
) -> Float[Tensor, "batch patch 3"]:
    """Directions (x, y, 1) through the centres of all cells, in row-major order.

    Args:
        intrinsics: (batch, 3, 3).
        grid: rows and columns of cells.
        swapped: use (row, column) as (x, y), as in the training of the released files.
    """
    rows, columns = (torch.arange(n, device=intrinsics.device, dtype=intrinsics.dtype) for n in grid)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    pixels = cell_centers(row.flatten(), column.flatten(), patch_size)
    if swapped:
        pixels = pixels.flip(-1)
    pixels = pixels.expand(intrinsics.shape[0], -1, -1)
    return unproject(pixels, torch.ones_like(pixels[..., 0]), intrinsics)


def fourier_features(
    values: Float[Tensor, "*batch axis"], num_bands: int, max_resolution: float
) -> Float[Tensor, "*batch feature"]:
    """Compute [values, sin(π f values), cos(π f values)] with `num_bands` frequencies f from 1 to max_resolution / 2.

    In the sines and in the cosines, all bands of one axis are adjacent. (..., n) becomes (..., n + 2 n num_bands).
    """
    bands = torch.linspace(1.0, max_resolution / 2, num_bands, device=values.device, dtype=values.dtype)
    angles = (values[..., None] * bands * math.pi).flatten(-2)
    return torch.cat((values, angles.sin(), angles.cos()), dim=-1)


def reference_focal(image_size: tuple[int, int]) -> float:
    """Focal length in pixels at which encoded depth equals log-depth, for an image of (rows, columns) pixels.

    A rectangular image counts as the centre of the square to which it would be padded.
    """
    return focal_from_field_of_view(REFERENCE_FIELD_OF_VIEW, max(image_size))


def encode_depth(depth: Tensor, focal: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Encode depth (person,): log of depth in metres, times reference focal length over focal length (fx, pixels)."""
    return (depth + _TINY).log() * reference_focal(image_size) / focal


def decode_depth(
    encoded: Tensor, focal: Tensor, image_size: tuple[int, int], max_depth: float = 50.0
) -> Tensor:
    """Decode depth (person,) to metres in [0, max_depth], the inverse of `encode_depth`; no gradient beyond."""
    exponent = encoded * focal / reference_focal(image_size)
    # Also clamped before the exponential: an infinity would turn the zero gradient of the second clamp into NaN.
    return (exponent.clamp(max=math.log(max_depth) + 1.0).exp() - _TINY).clamp(0.0, max_depth)
