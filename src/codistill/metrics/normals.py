"""Surface normal scores: from predicted and true unit vectors to one row of numbers per image.

Vectors are in the camera frame (x right, y down, z forward) and point towards the camera; (0, 0, 0) is unknown. A data
set's score is the mean of its images' scores (so "rmse" is a mean of RMSEs). Source of the six numbers: Fouhey et al.,
ICCV 2013, as evaluations of NYUv2 have used them since; means per image: Probe3D (arXiv 2404.08636).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import vector_norm

NORMAL_METRICS = ("mean", "median", "rmse", "a11", "a22", "a30")
"""Entries of `normal_scores`: errors in degrees, then shares of pixels below `LIMITS` in per cent."""

LIMITS = (11.25, 22.5, 30.0)
"""Error limits in degrees."""


def known_normals(vectors: Float[Tensor, "*pixels 3"]) -> Bool[Tensor, "*pixels"]:
    """Whether a normal is known: not (0, 0, 0)."""
    return (vectors != 0).any(-1)


def angles(one: Float[Tensor, "*pixels 3"], other: Float[Tensor, "*pixels 3"]) -> Float[Tensor, "*pixels"]:
    """Angles between unit vectors in radians; exact, with finite gradients, also for equal and opposite vectors.

    2 atan2(|a - b|, |a + b|), after Kahan: the arc cosine of the dot product loses half the digits near 0, and its
    slope is infinite there. The angle to (0, 0, 0) is a quarter turn.
    """
    return 2 * torch.atan2(vector_norm(one - other, dim=-1), vector_norm(one + other, dim=-1))


def normal_scores(
    prediction: Float[Tensor, "row column 3"], truth: Float[Tensor, "row column 3"]
) -> Float[Tensor, " metric"]:
    """Scores of an image, in the order of `NORMAL_METRICS`; NaN for an image without a known normal.

    Args:
        prediction: unit vectors.
        truth: unit vectors, (0, 0, 0) where unknown.
    """
    mask = known_normals(truth)
    errors = torch.rad2deg(angles(prediction[mask].double(), truth[mask].double())).sort().values
    count = len(errors)
    if not count:
        return torch.full((len(NORMAL_METRICS),), torch.nan, dtype=torch.float64)
    median = (errors[(count - 1) // 2] + errors[count // 2]) / 2
    shares = [100.0 * (errors < limit).double().mean() for limit in LIMITS]
    return torch.stack((errors.mean(), median, errors.square().mean().sqrt(), *shares))
