"""Joint bilateral upsampling (Kopf et al. 2007; FeatUp, arXiv 2403.10516): coarse map and image in, fine map out.

There is one level per prime factor of the magnification. At each level the map is resized bilinearly; then every
position becomes a mean of its 7 x 7 neighbours, weighted by their distance and by the difference of the image's colours
there. Weights are positive and sum to one, so that constant maps stay constant, and a linear head may be applied before
or after the upsampling. Nothing is learned: where FeatUp and FeatSharp learn a small network on the colours, the
colours are used directly.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

RADIUS = 3
SIGMA_SPACE = 1.0
"""Spatial sigma in units of the window's radius: weights fall to exp(-1/2) at the middle of the window's edges."""
SIGMA_COLOUR = 0.5
"""Colour sigma: a Euclidean distance, in ImageNet's standard deviations of a channel."""


def prime_factors(number: int) -> list[int]:
    """The prime factors of a number, in ascending order."""
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def upsample_jbu(
    coarse: Float[Tensor, "batch channel row column"],
    guide: Float[Tensor, "batch 3 fine_row fine_column"],
    factor: int,
) -> Float[Tensor, "batch channel magnified_row magnified_column"]:
    """Magnify a map by an integer factor along both axes, in fp32.

    Args:
        coarse: the map.
        guide: ImageNet-normalized pixels of the same image, at any resolution; averaged to the resolution of each
            level.
        factor: the magnification.
    """
    fine, colours = coarse.float(), guide.float()
    for prime in prime_factors(factor):
        size = (prime * fine.shape[-2], prime * fine.shape[-1])
        fine = interpolate(fine, size=size, mode="bilinear", align_corners=False)
        fine = bilateral_mean(fine, adaptive_avg_pool2d(colours, size))
    return fine


def bilateral_mean(
    values: Float[Tensor, "batch channel row column"], colours: Float[Tensor, "batch 3 row column"]
) -> Float[Tensor, "batch channel row column"]:
    """Mean of the 7 x 7 neighbours of each position, weighted by distance and colour; mirrored at the border."""
    rows, columns = values.shape[-2:]
    padded, around = (_mirrored(x) for x in (values, colours))
    total, weights = torch.zeros_like(values), torch.zeros_like(values[:, :1])
    for down in range(2 * RADIUS + 1):
        for right in range(2 * RADIUS + 1):
            here = (..., slice(down, down + rows), slice(right, right + columns))
            far = ((down - RADIUS) ** 2 + (right - RADIUS) ** 2) / (SIGMA_SPACE * RADIUS) ** 2
            other = (around[here] - colours).square().sum(1, keepdim=True) / SIGMA_COLOUR**2
            weight = torch.exp(-0.5 * (far + other))  # (batch, 1, row, column)
            total.addcmul_(padded[here], weight)
            weights += weight
    return total / weights


def _mirrored(x: Tensor) -> Tensor:
    """Pad a map with its mirror image; on axes too short for that, the border is repeated."""
    mode = "reflect" if min(x.shape[-2:]) > RADIUS else "replicate"
    return pad(x, (RADIUS,) * 4, mode=mode)
