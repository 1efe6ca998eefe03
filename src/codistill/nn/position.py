"""Learned positional embeddings at sizes other than the native square (DINOv2 rule).

The patch part, seen as an image, is resized bicubically in fp32. Two rules are in use: by a scale factor with a
small offset (DINOv2 without registers, DUNE), and by size with antialiasing (DINOv2 with registers).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resize_position_embedding(
    embedding: Tensor,
    grid: tuple[int, int],
    *,
    num_prefix: int = 1,
    offset: float | None = 0.1,
    antialias: bool = False,
) -> Tensor:
    """Positional embedding for another grid.

    Args:
        embedding: (1, num_prefix + n * n, channel), learned on an n x n grid.
        grid: rows and columns wanted. Exactly the native grid returns `embedding` unchanged.
        num_prefix: leading embeddings that belong to no patch (the class token's).
        offset: added to rows and columns before dividing by n, giving the scale factor that bicubic sampling
            uses; None or 0 resizes by size instead.
        antialias: low-pass filter when shrinking.

    Returns:
        (1, num_prefix + rows * columns, channel), in the dtype of `embedding`.

    Raises:
        ValueError: if the patch part is not a square grid.
    """
    prefix, patches = embedding[:, :num_prefix], embedding[:, num_prefix:]
    side = math.isqrt(patches.shape[1])
    if side * side != patches.shape[1]:
        raise ValueError(f"positional embedding of {patches.shape[1]} patches is not a square grid")
    if grid == (side, side):
        return embedding
    image = patches.float().transpose(1, 2).reshape(1, -1, side, side)  # (1, channel, n, n)
    if offset:  # the factor, not the size, decides where bicubic samples lie: other values than by size
        factor = ((grid[0] + offset) / side, (grid[1] + offset) / side)
        image = interpolate(image, scale_factor=factor, mode="bicubic", antialias=antialias)
    else:
        image = interpolate(image, size=grid, mode="bicubic", antialias=antialias)
    if tuple(image.shape[-2:]) != tuple(grid):
        raise ValueError(f"positional embedding came out as {tuple(image.shape[-2:])} for the grid {grid}")
    patches = image.flatten(2).transpose(1, 2).to(embedding.dtype)  # (1, rows * columns, channel)
    return torch.cat((prefix, patches), dim=1)
