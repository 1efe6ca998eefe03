"""Find the rigid or similarity transform that best maps one point set to another, in closed form.

Weighted least squares by the SVD of the cross-covariance (Kabsch 1976, Umeyama 1991), batched and differentiable. Used
to align meshes, pointmaps and trajectories; `geometry/rigid.py` is its robust form.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.full_precision import full_precision


@dataclass(frozen=True)
class Similarity:
    """The transform x -> scale * rotation x + translation.

    Attributes:
        scale: (*batch); ones for a rigid alignment.
        rotation: (*batch, 3, 3), determinant +1.
        translation: (*batch, 3).
    """

    scale: Float[Tensor, "*batch"]
    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def apply(self, points: Float[Tensor, "*batch point 3"]) -> Float[Tensor, "*batch point 3"]:
        """Apply scale * rotation x + translation to every point."""
        rotated = (self.rotation[..., None, :, :] * points[..., None, :]).sum(-1)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]


def procrustes(
    source: Float[Tensor, "*batch point 3"],
    target: Float[Tensor, "*batch point 3"],
    weights: Float[Tensor, "*batch point"] | None = None,
    *,
    scale: bool = False,
) -> Similarity:
    """Find the transform that maps `source` closest to `target`.

    Minimizes sum_i w_i |s R x_i + t - y_i|^2 over proper rotations R, translations t and, if `scale`, s > 0.
    Fewer than three points, or points on a line, leave the rotation undetermined: some minimizer is returned.

    Args:
        source, target: (*batch, point, 3), matched by index.
        weights: (*batch, point), non-negative, not all zero; None: all equal.
        scale: estimate a scale as well.
    """
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    with full_precision(source):
        share = (weights / weights.sum(-1, keepdim=True))[..., None]  # (*batch, point, 1)
        mean_source = (share * source).sum(-2)
        mean_target = (share * target).sum(-2)
        x, y = source - mean_source[..., None, :], target - mean_target[..., None, :]
        covariance = (share * y).transpose(-2, -1) @ x  # (*batch, 3, 3)
        exact = torch.promote_types(covariance.dtype, torch.float32)  # there is no SVD in half precision
        u, singular, vh = torch.linalg.svd(covariance.to(exact))
        # A negative determinant means that a reflection fits best; flipping the weakest axis gives the best rotation.
        sign = torch.det(u @ vh).sign()
        flip = torch.stack((torch.ones_like(sign), torch.ones_like(sign), sign), dim=-1)
        rotation = ((u * flip[..., None, :]) @ vh).to(covariance.dtype)  # (*batch, 3, 3)
        if scale:
            spread = (share * x * x).sum((-2, -1))  # (*batch,)
            factor = ((singular * flip).sum(-1) / spread).to(covariance.dtype)
        else:
            factor = torch.ones_like(covariance[..., 0, 0])
        moved = (rotation * mean_source[..., None, :]).sum(-1)  # (*batch, 3)
        return Similarity(factor, rotation, mean_target - factor[..., None] * moved)
