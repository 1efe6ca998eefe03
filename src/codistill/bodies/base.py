"""Interface of body models: rotations and shape in, vertices and joints out, centred on the pelvis, in metres.

If the root rotation is the identity, a body is in its own axes; the x axis of these goes across the body, from right to
left. `init_6d` holds the root rotation that puts the body upright in front of a camera (x right, y down, z forward),
facing it.
"""

import math
import re
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from codistill.bodies.symmetry import joint_counterparts

IDENTITY_6D: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_DETAIL = re.compile(
    r"toe|eye|ear|nose|heel|jaw|face_|tip|finger|metacarpal|thumb|index|middle|ring|pinky|breast",
    re.IGNORECASE,
)


class BodyModel(nn.Module, ABC):
    """A differentiable body.

    Attributes:
        name: as in `BODIES`.
        n_rot: number of rotations of `forward`, with the root first.
        n_shape: number of shape parameters of `forward`.
        n_expression: number of expression parameters of `forward`; 0 for a body without expressions.
        shape_limit: parameters beyond ± this change nothing visible, so that labels are clamped to it.
        n_verts, n_joints: numbers of vertices and joints in the output.
        head_idx, pelvis_idx: indices of head and pelvis among the joints.
        faces: (face, 3) triangles, counter-clockwise seen from outside.
        init_6d: (n_rot, 6), a body standing in front of the camera, as first and second columns of the rotations.
        rotation_names, joint_names: names of the rotations and joints.
        licence: licence of the model's data.
    """

    name: str
    n_rot: int
    n_shape: int
    n_expression: int = 0
    shape_limit: float = math.inf
    n_verts: int
    n_joints: int
    head_idx: int
    pelvis_idx: int
    faces: Int[Tensor, "face 3"]
    init_6d: Float[Tensor, "rotation 6"]
    rotation_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    licence: str

    @property
    def main_joints(self) -> tuple[int, ...]:
        """Indices of the joints of trunk and limbs, without fingers, toes and face, for measuring joint errors."""
        return tuple(i for i, name in enumerate(self.joint_names) if not _DETAIL.search(name))

    @cached_property
    def joint_counterparts(self) -> tuple[int, ...]:
        """For each joint the index of its counterpart on the other side; see `symmetry.joint_counterparts`."""
        with torch.no_grad():
            identity = torch.eye(3, device=self.init_6d.device).repeat(1, self.n_rot, 1, 1)
            _, joints = self(identity, identity.new_zeros(1, self.n_shape))
        return joint_counterparts(self.joint_names, joints[0].cpu())

    def thinned(self, every: int) -> "BodyModel":
        """The body with only every n-th vertex, for losses on a sample of the surface; itself if unsupported."""
        del every
        return self

    @abstractmethod
    def forward(
        self, rotmat: Float[Tensor, "person rotation 3 3"], shape: Float[Tensor, "person shape"]
    ) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        """Vertices and joints in metres, the pelvis at the origin.

        Args:
            rotmat: (person, n_rot, 3, 3), each relative to its parent; that of the root is in camera coordinates.
            shape: (person, n_shape), unbounded.
        """

    def _check(self, rotmat: Tensor, shape: Tensor) -> None:
        people = rotmat.shape[0]
        if rotmat.shape != (people, self.n_rot, 3, 3) or shape.shape != (people, self.n_shape):
            raise ValueError(
                f"{self.name} wants rotations (person, {self.n_rot}, 3, 3) and shapes (person, {self.n_shape}); "
                f"got {tuple(rotmat.shape)} and {tuple(shape.shape)}"
            )


def upright_init(n_rot: int) -> Float[Tensor, "rotation 6"]:
    """`init_6d` of a body whose own axes are x left, y back, z up: R_x(90°) at the root, identity elsewhere."""
    out = torch.tensor(IDENTITY_6D).repeat(n_rot, 1)
    out[0] = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return out
