"""Estimate the focal length that explains a pointmap when the camera is unknown.

A pixel p (relative to the principal point) and its point (X, Y, Z) satisfy p = f (X, Y) / Z. Weiszfeld's iterated
reweighting minimizes the sum of unsquared distances |p - f q|, q = (X, Y) / Z. Source: DUSt3R (arXiv 2312.14132),
section 3.3.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.projection import pixel_grid

_ITERATIONS = 10


def estimate_focal(
    pointmap: Float[Tensor, "batch row column 3"],
    principal_point: Float[Tensor, "batch 2"] | None = None,
    *,
    clip: tuple[float, float] | None = None,
) -> Float[Tensor, " batch"]:
    """Estimate the focal lengths in pixels of pointmaps in their own camera's frame.

    Args:
        pointmap: (batch, row, column, 3). A coordinate quotient that is not finite counts as (0, 0).
        principal_point: (batch, 2), (x, y) in pixels; None: the published choice (W/2, H/2), half a pixel away from the
            exact centre.
        clip: smallest and largest focal length, as multiples of the one that spans 60 degrees over the longer side;
            None does not clip.

    Returns:
        (batch,); NaN if no focal length explains the pointmap better than others (all points on one ray), or if the
        best one is not above 0.
    """
    batch, rows, columns, _ = pointmap.shape
    if principal_point is None:
        principal_point = pointmap.new_tensor([columns / 2, rows / 2]).expand(batch, 2)
    grid = pixel_grid(rows, columns, pointmap.device, pointmap.dtype)
    pixels = (grid - principal_point[:, None, None, :]).flatten(1, 2)
    points = pointmap.flatten(1, 2)
    focal = _weiszfeld(pixels, points)
    focal = torch.where(_has_rays(points) & (focal > 0), focal, torch.nan)
    if clip is not None:
        base = max(rows, columns) / (2 * math.tan(math.radians(30)))
        focal = focal.clamp(clip[0] * base, clip[1] * base)
    return focal


def _has_rays(points: Tensor) -> Tensor:
    """Whether points (batch, point, 3) lie on different rays, (batch,)."""
    quotient = _quotient(points)
    return (quotient - quotient.mean(-2, keepdim=True)).norm(dim=-1).amax(-1) > 1e-4


def _quotient(points: Tensor) -> Tensor:
    """(X, Y) / Z; (0, 0) where it is not a number."""
    return (points[..., :2] / points[..., 2:]).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _weiszfeld(pixels: Tensor, points: Tensor) -> Tensor:
    quotient = _quotient(points)
    along = (pixels * quotient).sum(-1)  # (batch, point)
    square = (quotient * quotient).sum(-1)
    focal = along.mean(-1) / square.mean(-1)  # least squares, the start
    for _ in range(_ITERATIONS):
        distance = (pixels - focal[:, None, None] * quotient).norm(dim=-1)
        weight = 1.0 / distance.clamp(min=1e-8)  # turns squared distances into distances
        focal = (weight * along).mean(-1) / (weight * square).mean(-1)
    return focal
