"""Resize learned position embeddings to grids other than the native square (DINOv2's rules).

The patch part is resized bicubically, as an image, in fp32. Two rules are in use: by a scale factor with a small offset
(DINOv2 without registers, DUNE), and by size with antialiasing (DINOv2 with registers). In an exported program the grid
is symbolic. There the same resizing is done by two matrix products, whose matrices are computed from the grid with
plain operators (`bicubic_matrix`), so that one graph serves every size and needs no cubic `Resize` operator.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.nn.tracing import is_symbolic


def resize_position_embedding(
    embedding: Tensor,
    grid: tuple[int, int],
    *,
    num_prefix: int = 1,
    offset: float | None = 0.1,
    antialias: bool = False,
) -> Tensor:
    """Resize a position embedding to another grid.

    Args:
        embedding: (1, num_prefix + n * n, channel), learned on an n x n grid.
        grid: wanted rows and columns. For the native grid, `embedding` is returned unchanged.
        num_prefix: number of leading embeddings that belong to no patch (the class token's).
        offset: added to rows and columns before they are divided by n; the quotient is the scale factor of bicubic
            sampling. None or 0 resizes by size instead.
        antialias: apply a low-pass filter when shrinking.

    Returns:
        (1, num_prefix + rows * columns, channel), in the dtype of `embedding`.

    Raises:
        ValueError: if the patch part is not a square grid.
    """
    prefix, patches = embedding[:, :num_prefix], embedding[:, num_prefix:]
    side = math.isqrt(patches.shape[1])
    if side * side != patches.shape[1]:
        raise ValueError(f"positional embedding of {patches.shape[1]} patches is not a square grid")
    if is_symbolic(*grid):
        patches = _resized_by_products(patches, side, grid, offset or 0.0, antialias)
        return torch.cat((prefix, patches.to(embedding.dtype)), dim=1)
    if grid == (side, side):
        return embedding
    image = patches.float().transpose(1, 2).reshape(1, -1, side, side)  # (1, channel, n, n)
    if offset:  # sample positions follow from the factor, so values differ from resizing by size
        factor = ((grid[0] + offset) / side, (grid[1] + offset) / side)
        image = interpolate(image, scale_factor=factor, mode="bicubic", antialias=antialias)
    else:
        image = interpolate(image, size=grid, mode="bicubic", antialias=antialias)
    if tuple(image.shape[-2:]) != tuple(grid):
        raise ValueError(f"positional embedding came out as {tuple(image.shape[-2:])} for the grid {grid}")
    patches = image.flatten(2).transpose(1, 2).to(embedding.dtype)  # (1, rows * columns, channel)
    return torch.cat((prefix, patches), dim=1)


def _resized_by_products(
    patches: Tensor, side: int, grid: tuple[int, int], offset: float, antialias: bool
) -> Float[Tensor, "1 patch channel"]:
    """The patch part in fp32, for a symbolic grid."""
    counts = [torch.full((), count, dtype=torch.float32, device=patches.device) for count in grid]
    native = (counts[0] == side) & (counts[1] == side)
    matrices = []
    for count, symbol in zip(counts, grid, strict=True):
        scale = torch.where(native, 1.0, side / (count + offset))
        matrices.append(bicubic_matrix(side, torch.arange(symbol, device=patches.device), scale, antialias))
    image = patches.float().reshape(side, -1)  # (row, column x channel)
    image = (matrices[0] @ image).reshape(grid[0], side, -1)
    return (matrices[1] @ image).reshape(1, grid[0] * grid[1], -1)


def bicubic_matrix(
    side: int, places: Tensor, scale: Tensor, antialias: bool = False
) -> Float[Tensor, "place side"]:
    """Matrix of the weights that `interpolate(mode="bicubic")` gives to each sample at each place of a resized axis.

    Args:
        side: number of samples of the axis.
        places: positions 0, 1, … on the resized axis.
        scale: samples per place, a scalar.
        antialias: as in `interpolate`: the kernel is stretched where the axis shrinks, and normalized over the samples
            in reach.
    """
    samples = torch.arange(side, device=places.device)
    centre = (places.float() + 0.5) * scale  # in units of samples, whose edges are at integers
    if antialias:
        stretch = scale.clamp(min=1.0)
        first = (centre - 2.0 * stretch + 0.5).clamp(min=0.0).floor()[:, None]  # 2 is half the kernel's width
        last = (centre + 2.0 * stretch + 0.5).floor()[:, None]
        weights = _cubic((samples + 0.5 - centre[:, None]) / stretch, -0.5)
        weights = torch.where((samples >= first) & (samples < last), weights, 0.0)
        return weights / weights.sum(1, keepdim=True)
    source = centre - 0.5
    floor = source.floor()
    matrix = torch.zeros_like(source)[:, None]
    for tap in (-1, 0, 1, 2):
        index = (floor + tap).clamp(0, side - 1)[:, None]  # the border is repeated
        weight = _cubic(source - floor - tap, -0.75)[:, None]
        matrix = matrix + torch.where(samples == index, weight, 0.0)
    return matrix


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' cubic convolution kernel with parameter `a`: -0.75 in PyTorch's plain resizing, -0.5 with antialiasing."""
    x = distance.abs()
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return torch.where(x <= 1.0, near, torch.where(x < 2.0, far, 0.0))
