"""A frozen two-view head against the head that it copies, in double precision; what stays fp32, what it shares."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import two_view_toys
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.heads.two_view.frozen import FrozenTwoViewHead, as_fast_as
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.types import Tokens

CONFIG = replace(two_view_toys.CONFIG, dim=48, num_heads=3)


def tokens(grid: tuple[int, int], seed: int = 0, normed: bool = False) -> Tokens:
    return two_view_toys.tokens(grid, batch=3, seed=seed, normed=normed)


def uneven_head(config: TwoViewConfig = CONFIG) -> TwoViewHead:
    """A head whose norms, biases and weights all differ from what they start as."""
    torch.manual_seed(1)
    head = TwoViewHead(config).eval()
    for name, parameter in head.named_parameters():
        if not name.startswith("heads."):
            nn.init.normal_(parameter, std=0.3 if parameter.ndim == 1 else 0.15)
    for part in head.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight, mean=1.0, std=0.3)
    return head


def doubled(view: Tokens) -> Tokens:
    return Tokens(view.patches.double(), view.grid, normed=view.normed)


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.04)])
@pytest.mark.parametrize("fresh_norm", [True, False])
def test_layers_are_those_of_the_head(dtype: torch.dtype, bound: float, fresh_norm: bool) -> None:
    head = uneven_head(replace(CONFIG, fresh_norm=fresh_norm))
    views = (
        tokens((3, 5), normed=not fresh_norm),
        tokens((4, 2), seed=1, normed=not fresh_norm),
    )
    frozen = FrozenTwoViewHead(head, dtype)
    found = frozen.decode(*views)
    wanted = uneven_head(replace(CONFIG, fresh_norm=fresh_norm)).double().decode(*map(doubled, views))
    for of_view, expected in zip(found, wanted, strict=True):
        assert len(of_view) == len(expected) == 1 + CONFIG.depth
        assert all(x.dtype == dtype for x in of_view[1:-1]) and of_view[-1].dtype == torch.float32
        assert max(error(x, y) for x, y in zip(of_view, expected, strict=True)) < bound
    prediction = frozen(*views)[0]
    assert prediction.points.dtype == torch.float32 and not prediction.points.requires_grad
    if dtype == torch.float32:
        torch.testing.assert_close(prediction.points, head(*views)[0].points, rtol=1e-4, atol=1e-5)


def test_autocast_changes_nothing() -> None:
    frozen, views = FrozenTwoViewHead(uneven_head(), torch.float32), (tokens((3, 3)), tokens((3, 3), seed=1))
    alone = frozen(*views)[1].points
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frozen(*views)[1].points, alone)


def test_a_head_in_use_follows_its_encoder() -> None:
    head, exact = uneven_head(), load_encoder("random:vit_tiny")
    assert as_fast_as(exact, head) is head
    assert isinstance(exact, ViTEncoder)
    followed = as_fast_as(FrozenViTEncoder(exact, "bf16"), head)
    assert isinstance(followed, FrozenTwoViewHead) and followed.dtype == torch.bfloat16
    assert not any(p.requires_grad for p in followed.parameters())
    with pytest.raises(ValueError, match="un-normed"):
        followed(tokens((3, 3), normed=True), tokens((3, 3)))
