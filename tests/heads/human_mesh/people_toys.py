"""Small heads, tokens and people for the tests beside it."""

import argparse
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from codistill.bodies.tiny import TinyBody
from codistill.geometry.rotations import rotation_from_6d, rotation_from_vector
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.names import to_released
from codistill.heads.human_mesh.network import HumanMeshConfig, HumanMeshHead
from codistill.heads.human_mesh.place import place_bodies
from codistill.heads.human_mesh.targets import PeopleTruth
from codistill.types import Tokens

PATCH = 14
SMALL = HumanMeshConfig(
    encoder_dim=24,
    patch_size=PATCH,
    n_rot=5,
    n_shape=2,
    table_size=6,
    dim=32,
    depth=2,
    num_heads=2,
    head_dim=8,
    hidden=40,
    num_bands=3,
    max_resolution=16.0,
)


RELEASED = replace(SMALL, n_rot=53, n_shape=10, n_expression=10, fresh_norm=False, swapped_rays=True)
ARGUMENTS = {
    "img_size": [84],
    "xat_num_heads": 2,
    "camera_embedding": "geometric",
    "camera_embedding_num_bands": 3,
    "camera_embedding_max_resolution": 16,
    "nearness": True,
    "person_center": "head",
}


def made_head(config: HumanMeshConfig = SMALL, *, spread: float = 1.0) -> HumanMeshHead:
    """A head whose last layers matter: fresh ones start at almost nothing."""
    torch.manual_seed(0)
    head = HumanMeshHead(config).eval()
    for last in (head.pose, head.shape, head.camera):
        torch.nn.init.normal_(last.weight, std=spread * config.dim**-0.5)
    return head


def made_tokens(batch: int = 3, grid: tuple[int, int] = (6, 6), dim: int = 24, seed: int = 1) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(batch, grid[0] * grid[1], dim, generator=generator), grid, normed=False)


def made_cameras(batch: int = 3, size: int = 84) -> Tensor:
    """Not square, off-centre, each another."""
    k = torch.eye(3).repeat(batch, 1, 1)
    for i in range(batch):
        k[i, 0, 0], k[i, 1, 1] = 80.0 + 7 * i, 95.0 - 5 * i
        k[i, 0, 2], k[i, 1, 2] = size / 2 - 3.0 - i, size / 2 + 2.0 * i
    return k


def made_cells() -> PersonCells:
    """Two people in image 0, none in 1, three in 2."""
    return PersonCells.of(
        torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 4, 0, 3, 5]), torch.tensor([2, 2, 5, 3, 0])
    )


def made_truth(body: TinyBody, people: int = 4, batch: int = 2, seed: int = 3) -> PeopleTruth:
    """People of a tiny body, a few metres away."""
    generator = torch.Generator().manual_seed(seed)
    vectors = 0.4 * torch.randn(people, body.n_rot, 3, generator=generator)
    rotmat = rotation_from_6d(body.init_6d) @ rotation_from_vector(vectors)
    shape = torch.randn(people, body.n_shape, generator=generator)
    pelvis = torch.randn(people, 3, generator=generator) * torch.tensor([0.5, 0.3, 0.5])
    pelvis = pelvis + torch.tensor([0.0, 0.0, 4.0])
    placed = place_bodies(body, rotmat, shape, pelvis=pelvis)
    return PeopleTruth(
        image=torch.arange(people) % batch,
        head=placed.head,
        pelvis=placed.pelvis,
        joints=placed.joints,
        vertices=placed.vertices,
        rotmat=rotmat,
        shape=shape,
    )


def released(config: HumanMeshConfig = RELEASED, **arguments: Any) -> dict[str, Any]:
    """A file in the released layout: random fp16 tensors, the body model's licensed ones among them."""
    generator = torch.Generator().manual_seed(0)
    head = HumanMeshHead(config)
    model = {
        to_released(name): torch.randn(tensor.shape, generator=generator).half()
        for name, tensor in head.state_dict().items()
    }
    model |= {
        "backbone.encoder.patch_embed.proj.weight": torch.randn(24, 3, 14, 14),
        "x_attention_head.init_betas_kid": torch.zeros(1, 11),
        "smpl_layer.neutral_10.bm_x.v_template": torch.randn(10475, 3),
        "smpl_layer.neutral_11.bm_x.faces_tensor": torch.zeros(4, 3, dtype=torch.int64),
    }
    return {
        "epoch": 3,
        "iter": 7,
        "model_state_dict": model,
        "args": argparse.Namespace(**(ARGUMENTS | arguments)),
    }
