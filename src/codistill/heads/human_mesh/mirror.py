"""Horizontal flips, applied to labelled people and to the camera.

In the camera frame x becomes -x. Every rotation R becomes M R M with M = diag(-1, 1, 1) (y and z of its rotation vector
change sign), and left and right exchange their names. Mirroring twice is the identity.

Source: Multi-HMR (arXiv 2402.14654), its only augmentation.
"""

from dataclasses import replace
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.bodies.symmetry import NO_COUNTERPART, counterparts
from codistill.heads.human_mesh.targets import PeopleTruth


class Skeleton(Protocol):
    """A body model's names and joint counterparts; any `BodyModel` has them."""

    @property
    def rotation_names(self) -> tuple[str, ...]: ...

    @property
    def joint_counterparts(self) -> tuple[int, ...]: ...


def mirror_points(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Convert points (..., 3) of the camera frame to the mirrored camera's frame."""
    return points * points.new_tensor([-1.0, 1.0, 1.0])


def mirror_rotations(
    rotmat: Float[Tensor, "person rotation 3 3"], body: Skeleton
) -> Float[Tensor, "person rotation 3 3"]:
    """Rotations of the mirrored people."""
    swapped = rotmat[:, list(counterparts(body.rotation_names))]
    sign = swapped.new_tensor([-1.0, 1.0, 1.0])
    return swapped * sign[:, None] * sign


def mirror_intrinsics(intrinsics: Float[Tensor, "*batch 3 3"], width: int) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics (..., 3, 3) of the flipped image, which is `width` pixels wide; pixel centres are at integers."""
    mirrored = intrinsics.clone()
    mirrored[..., 0, 2] = (width - 1) - intrinsics[..., 0, 2]
    mirrored[..., 0, 1] = -intrinsics[..., 0, 1]
    return mirrored


def mirror_people(truth: PeopleTruth, body: Skeleton) -> PeopleTruth:
    """Labels of the flipped images; `joints` must be those of the body model.

    A joint without a counterpart becomes unknown. Vertices are left out, since meshes do not record each vertex's
    counterpart; see `targets.with_vertices`.
    """
    other = torch.tensor(body.joint_counterparts, device=truth.joints.device)
    lost = other == NO_COUNTERPART
    source = torch.where(lost, torch.arange(len(other), device=other.device), other)
    known = truth.joint_known
    if lost.any() and known is None:
        known = torch.ones(truth.joints.shape[:2], dtype=torch.bool, device=other.device)
    return replace(
        truth,
        head=mirror_points(truth.head),
        pelvis=mirror_points(truth.pelvis),
        joints=mirror_points(truth.joints[:, source]),
        vertices=None,
        rotmat=None if truth.rotmat is None else mirror_rotations(truth.rotmat, body),
        joint_known=None if known is None else known[:, source] & ~lost,
    )
