"""Place bodies in the camera frame: from rotations, shapes and head joints to vertices and joints in metres.

Source: Multi-HMR (arXiv 2402.14654), section 3.1: a body is placed by its head, the keypoint that was detected.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.bodies.smplx import SmplxBody
from codistill.heads.human_mesh.prediction import PeoplePrediction
from codistill.nn.precision import full_precision


@dataclass(frozen=True)
class PlacedBodies:
    """Bodies in the frame of their image's camera (x right, y down, z forward), metres.

    Attributes:
        vertices, joints: in the camera frame.
        head_idx, pelvis_idx: indices of these joints.
    """

    vertices: Float[Tensor, "person vertex 3"]
    joints: Float[Tensor, "person joint 3"]
    head_idx: int
    pelvis_idx: int

    @property
    def head(self) -> Float[Tensor, "person 3"]:
        return self.joints[:, self.head_idx]

    @property
    def pelvis(self) -> Float[Tensor, "person 3"]:
        return self.joints[:, self.pelvis_idx]

    def centred(self) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        """Vertices and joints relative to the pelvis."""
        pelvis = self.pelvis[:, None]
        return self.vertices - pelvis, self.joints - pelvis


def pose_bodies(
    body: BodyModel, rotmat: Tensor, shape: Tensor, expression: Tensor | None = None
) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
    """Vertices and joints with the pelvis at the origin, in fp32; there may be no people.

    Args:
        body: the body model; all but SMPL-X have no expression and ignore it.
    """
    if rotmat.shape[0] == 0:
        # The sum keeps the (empty) result in the graph, so that a rank without people has zero gradients, not None.
        nothing = rotmat.sum() + shape.sum()
        return nothing.expand(0, body.n_verts, 3), nothing.expand(0, body.n_joints, 3)
    with full_precision(rotmat):
        if isinstance(body, SmplxBody):
            return body(rotmat.float(), shape.float(), expression)
        return body(rotmat.float(), shape.float())


def place_bodies(
    body: BodyModel,
    rotmat: Float[Tensor, "person rotation 3 3"],
    shape: Float[Tensor, "person shape"],
    *,
    head: Float[Tensor, "person 3"] | None = None,
    pelvis: Float[Tensor, "person 3"] | None = None,
    expression: Float[Tensor, "person expression"] | None = None,
) -> PlacedBodies:
    """Place bodies with their head, or their pelvis, at a point of the camera frame.

    Raises:
        ValueError: unless exactly one of the two points is given.
    """
    vertices, joints = pose_bodies(body, rotmat, shape, expression)
    if head is not None and pelvis is None:
        shift = head - joints[:, body.head_idx]
    elif pelvis is not None and head is None:
        shift = pelvis - joints[:, body.pelvis_idx]
    else:
        raise ValueError("give the place of either the head or the pelvis")
    return PlacedBodies(vertices + shift[:, None], joints + shift[:, None], body.head_idx, body.pelvis_idx)


def place_people(body: BodyModel, people: PeoplePrediction) -> PlacedBodies:
    """Place predicted people as bodies; gradients reach rotations, shape and position.

    Raises:
        ValueError: if the head was made for another body model.
    """
    rotations, shapes = people.rotmat.shape[1], people.shape.shape[1]
    if (rotations, shapes) != (body.n_rot, body.n_shape):
        raise ValueError(
            f"the body model {body.name!r} has {body.n_rot} rotations and {body.n_shape} shape numbers; the head gives "
            f"{rotations} and {shapes}. Use the body model that the head was made for."
        )
    return place_bodies(body, people.rotmat, people.shape, head=people.head, expression=people.expression)
