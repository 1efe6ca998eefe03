"""Attention and blocks against the textbook formula."""

import copy

import pytest
import torch
from torch import nn

from codistill.nn.attention import CrossAttention, SelfAttention
from codistill.nn.blocks import Block, DropPath, SwiGlu


def by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    weights = weights.exp() / weights.exp().sum(-1, keepdim=True)
    return torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2)


def test_self_attention_is_softmax_attention() -> None:
    layer, x = SelfAttention(12, 3), torch.randn(2, 5, 12)
    q, k, v = (part.unflatten(2, (3, 4)).transpose(1, 2) for part in layer.qkv(x).split(12, dim=2))
    torch.testing.assert_close(layer(x), layer.proj(by_hand(q, k, v)))
    torch.testing.assert_close(layer.attention_map(x).sum(-1), torch.ones(2, 3, 5))
    torch.testing.assert_close(layer.proj((layer.attention_map(x) @ v).transpose(1, 2).flatten(2)), layer(x))


def test_cross_attention_is_softmax_attention() -> None:
    layer, x, y = CrossAttention(12, 3), torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    q, k, v = (
        part.unflatten(2, (3, 4)).transpose(1, 2) for part in (layer.projq(x), layer.projk(y), layer.projv(y))
    )
    torch.testing.assert_close(layer(x, y), layer.proj(by_hand(q, k, v)))


def test_block_is_a_residual_pre_norm_block() -> None:
    block, x = Block(16, 4, 32, layer_scale=0.3), torch.randn(2, 5, 16)
    norm = nn.LayerNorm(16, eps=1e-6)
    a = x + 0.3 * block.attn(norm(x))
    torch.testing.assert_close(block(x), a + 0.3 * block.mlp(norm(a)))


def test_swiglu() -> None:
    layer, x = SwiGlu(6, 10), torch.randn(3, 6)
    hidden = x @ layer.w12.weight.T + layer.w12.bias
    gate, value = hidden[:, :10], hidden[:, 10:]
    wanted = (gate / (1 + (-gate).exp()) * value) @ layer.w3.weight.T + layer.w3.bias
    torch.testing.assert_close(layer(x), wanted)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 2, 3)
    out = layer(x)
    per_sample = out.flatten(1)
    assert ((per_sample == 0).all(1) | torch.isclose(per_sample, torch.tensor(4 / 3)).all(1)).all()
    assert abs(out.mean().item() - 1) < 0.05
    assert layer.eval()(x) is x


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_a_stream_in_bf16_stays_in_bf16_where_gradients_are_wanted(drop_path: float) -> None:
    torch.manual_seed(0)
    block = Block(96, 3, 384, layer_scale=0.1, drop_path=drop_path).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.1)
    exact = copy.deepcopy(block).double()
    x, weights = torch.randn(2, 17, 96).bfloat16(), torch.randn(2, 17, 96)
    same = x.double().requires_grad_()
    (exact(same) * weights).sum().backward()
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x)
        with torch.no_grad():
            assert block(x).dtype == torch.float32  # as ever under autocast
    assert found.dtype == torch.bfloat16
    (found.float() * weights).sum().backward()
    pairs = [(x, same), *zip(block.parameters(), exact.parameters(), strict=True)]
    for one, other in pairs:
        assert one.grad is not None and other.grad is not None
        assert (one.grad - other.grad).norm() / other.grad.norm() < 0.02
    assert all(
        parameter.grad.dtype == torch.float32
        for parameter in block.parameters()
        if parameter.grad is not None
    )
