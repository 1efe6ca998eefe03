"""Rotations as six numbers (two columns before Gram-Schmidt), as networks predict them, or as vectors (axis * angle).

Six numbers are the first column, then the second, as in `BodyModel.init_6d`. (Files in the tradition of SPIN store 3x2
matrices row by row instead; read as columns, their identity [1, 0, 0, 1, 0, 0] is degenerate.)
Source: Zhou et al., "On the Continuity of Rotation Representations" (arXiv 1812.07035).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from codistill.geometry.full_precision import full_precision
from codistill.geometry.poses import matrix_to_quaternion, quaternion_to_matrix

DEGENERATE = 1e-6
"""Length below which a column counts as having no direction."""


def rotation_from_6d(six: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices from six numbers (..., 6) by Gram-Schmidt, in fp32 or better, differentiable.

    If the two columns are parallel, or one is zero, some rotation that agrees with the rest is returned: the result is
    always a rotation, and gradients are finite.
    """
    with full_precision(six):
        six = six.float() if six.dtype in (torch.float16, torch.bfloat16) else six
        first = _direction(six[..., :3], torch.tensor([1.0, 0.0, 0.0], device=six.device, dtype=six.dtype))
        second = six[..., 3:]
        second = second - (first * second).sum(-1, keepdim=True) * first
        # The axis least aligned with `first`, made perpendicular to it; only used where `second` is degenerate.
        axes = torch.eye(3, device=six.device, dtype=six.dtype)
        axis = axes[first.detach().abs().argmin(-1)]
        spare = normalize(axis - (first * axis).sum(-1, keepdim=True) * first, dim=-1)
        second = _direction(second, spare)
        third = torch.linalg.cross(first, second, dim=-1)
        return torch.stack((first, second, third), dim=-1)


def rotation_to_6d(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first column of rotation matrices (..., 3, 3), then the second."""
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def _direction(vector: Tensor, spare: Tensor) -> Tensor:
    """Unit vectors (..., 3); `spare` if a vector is too short, with zero gradient."""
    short = vector.detach().norm(dim=-1, keepdim=True) < DEGENERATE
    return normalize(torch.where(short, spare.expand_as(vector), vector), dim=-1)


def rotation_vector(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis times angle (radians, at most pi) of rotation matrices (..., 3, 3)."""
    quaternion = matrix_to_quaternion(rotation)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    sine = imaginary.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, real)
    small = sine < 1e-7
    return imaginary * torch.where(small, torch.full_like(sine, 2.0), angle / sine.masked_fill(small, 1.0))


def rotation_from_vector(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of vectors (..., 3), axis times angle in radians; any angle."""
    angle = vector.norm(dim=-1, keepdim=True)
    # sin(angle / 2) / angle without dividing by zero
    factor = 0.5 * torch.sinc(angle / (2 * torch.pi))
    return quaternion_to_matrix(torch.cat((torch.cos(angle / 2), factor * vector), dim=-1))
