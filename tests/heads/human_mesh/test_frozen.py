"""A frozen human-mesh head against the head that it was, in double precision, with several people and empty slots."""

import copy

import pytest
import torch
from people_toys import made_cameras, made_cells, made_head, made_tokens
from torch import nn

from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.heads.human_mesh.frozen import FrozenPeopleLayer, as_fast_as
from codistill.heads.human_mesh.network import HumanMeshHead


def uneven_head() -> HumanMeshHead:
    head = made_head()
    for part in head.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight, mean=1.0, std=0.3)
            nn.init.normal_(part.bias, std=0.3)
    return head


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_people_are_those_of_the_head(precision: str, bound: float) -> None:
    head, tokens = uneven_head(), made_tokens()
    cells, cameras = made_cells(), made_cameras()
    with torch.no_grad():
        wanted = head(tokens, cameras, cells)
    exact = load_encoder("random:vit_tiny")
    assert isinstance(exact, ViTEncoder)
    assert not any(isinstance(layer, FrozenPeopleLayer) for layer in as_fast_as(exact, head).layers)
    encoder = FrozenViTEncoder(exact, precision)
    fast = as_fast_as(encoder, copy.deepcopy(head))
    assert all(isinstance(layer, FrozenPeopleLayer) for layer in fast.layers)
    found = fast(tokens, cameras, cells)
    assert found.score_logits.dtype == torch.float32 and not found.people.pose_6d.requires_grad
    assert (found.score_logits - wanted.score_logits).norm() / wanted.score_logits.norm() < bound
    for name in ("pose_6d", "shape", "encoded_depth"):
        x, y = getattr(found.people, name), getattr(wanted.people, name)
        assert x.dtype == torch.float32 and (x - y).norm() / y.norm() < bound
    assert as_fast_as(encoder, fast) is fast  # once
