"""A body of a few boxes with linear blend skinning, for tests: it needs no data and is built in a millisecond."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codistill.bodies.base import BodyModel, upright_init

JOINTS = ("pelvis", "spine", "head", "arm", "leg")
PARENTS = (-1, 0, 1, 1, 0)
HEADS = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.2), (0.0, 0.0, 0.6), (0.2, 0.0, 0.45), (0.1, 0.0, -0.1))
SIZES = ((0.3, 0.2, 0.2), (0.35, 0.2, 0.4), (0.16, 0.2, 0.25), (0.5, 0.1, 0.1), (0.12, 0.14, 0.75))
CENTERS = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.4), (0.0, 0.0, 0.72), (0.45, 0.0, 0.45), (0.1, 0.0, -0.48))


class TinyBody(BodyModel):
    """Five boxes on five joints; shape parameter 0 scales the whole body, 1 makes it wider."""

    template: Float[Tensor, "vertex 3"]
    heads: Float[Tensor, "joint 3"]
    owner: Int[Tensor, " vertex"]

    def __init__(self) -> None:
        super().__init__()
        self.name, self.licence = "tiny", "Apache-2.0"
        self.joint_names = self.rotation_names = JOINTS
        self.n_rot = self.n_joints = len(JOINTS)
        self.n_shape = 2
        self.head_idx, self.pelvis_idx = JOINTS.index("head"), 0
        corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]) / 2
        template = torch.cat(
            [corners * torch.tensor(s) + torch.tensor(c) for s, c in zip(SIZES, CENTERS, strict=True)]
        )
        box = torch.tensor(
            [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]],
        )
        rest = torch.tensor(
            [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
        )
        self.n_verts = len(template)
        self.register_buffer("template", template, persistent=False)
        self.register_buffer("heads", torch.tensor(HEADS), persistent=False)
        self.register_buffer("owner", torch.arange(self.n_joints).repeat_interleave(8), persistent=False)
        self.register_buffer(
            "faces",
            torch.cat([torch.cat([box, rest]) + 8 * i for i in range(self.n_joints)]),
            persistent=False,
        )
        self.register_buffer("init_6d", upright_init(self.n_rot), persistent=False)

    def forward(
        self, rotmat: Float[Tensor, "person rotation 3 3"], shape: Float[Tensor, "person shape"]
    ) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        self._check(rotmat, shape)
        size = torch.exp(0.2 * torch.tanh(shape[:, :1]))[..., None]
        wide = torch.exp(0.3 * torch.tanh(shape[:, 1:]))[..., None]
        stretch = torch.cat([wide, wide, torch.ones_like(wide)], dim=-1)
        heads = self.heads * size
        rest = heads[:, self.owner] + (self.template - self.heads[self.owner]) * stretch * size
        rotations, joints = [rotmat[:, 0]], [heads[:, 0]]
        for joint in range(1, self.n_joints):
            parent = PARENTS[joint]
            offset = (heads[:, joint] - heads[:, parent])[..., None]
            joints.append(joints[parent] + (rotations[parent] @ offset)[..., 0])
            rotations.append(rotations[parent] @ rotmat[:, joint])
        turn, place = torch.stack(rotations, dim=1), torch.stack(joints, dim=1)
        local = (rest - heads[:, self.owner])[..., None]
        verts = (turn[:, self.owner] @ local)[..., 0] + place[:, self.owner]
        pelvis = place[:, self.pelvis_idx : self.pelvis_idx + 1]
        return verts - pelvis, place - pelvis
