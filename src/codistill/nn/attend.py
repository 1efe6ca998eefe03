"""Scaled dot-product attention, with a faster implementation for bf16 on a CPU: queries, keys, values in, output out.

For bf16 on a CPU, PyTorch's own kernel takes twice as long as the three batched operations here (product, softmax,
product), and five times as long in a backward pass, which is longer than in fp32. The scores here are rounded to bf16.
The mean key is therefore subtracted from all keys first: this does not change the softmax, and the remaining scores are
smaller, so that rounding changes them less. On DINOv2's tokens the error then equals that of PyTorch's kernel.

In all other cases (other devices and dtypes, compilation, `torch.func`, and gradients through more scores than `_KEPT`)
`attention` calls `scaled_dot_product_attention`. It also does so without gradients on a CPU with AMX: PyTorch's kernel
uses AMX tiles, which makes its forward pass faster there, but not its backward pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

_AT_ONCE = 2**21
"""Number of scores computed at a time without gradients: 4 MB, which fits into the cache."""
_KEPT = 2**25
"""Largest number of scores of one call that are kept for the backward pass: 64 MB."""
_PLAIN = (Tensor, torch.nn.Parameter)
_TILES: Any = getattr(torch.cpu, "_is_amx_tile_supported", None)


def kernel_has_tiles() -> bool:
    """Whether PyTorch's attention kernel uses AMX tiles for bf16 on this CPU."""
    return _TILES is not None and bool(_TILES())


def attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, mask: Tensor | None = None
) -> Tensor:
    """Compute softmax(scale · query keyᵀ) value.

    Args:
        query: (batch, head, token, channel).
        key, value: (batch, head, other token, channel).
        scale: None for 1 / √channel.
        mask: broadcasts to (batch, head, token, other token), True where a query may attend; every query must be
            allowed to attend to at least one key.
    """
    if not _by_products(query, key, value):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    factor: float = query.shape[-1] ** -0.5 if scale is None else scale
    if mask is not None:
        mask = ~mask.expand(query.shape[:3] + key.shape[2:3]).flatten(
            0, 1
        )  # (batch · head, token, other token)
    with torch.autocast("cpu", enabled=False):
        if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
            return _Attention.apply(query, key, value, factor, mask)  # type: ignore[return-value]
        return _in_parts(query, key, value, factor, mask)


def _by_products(query: Tensor, key: Tensor, value: Tensor) -> bool:
    tensors = (query, key, value)
    if query.device.type != "cpu" or any(x.dtype != torch.bfloat16 or type(x) not in _PLAIN for x in tensors):
        return False
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    scores = query.shape[:3].numel() * key.shape[2]
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return scores > 0 and (scores <= _KEPT if wanted else not kernel_has_tiles())


def _rows(x: Tensor) -> Tensor:
    """Reshape (batch, head, token, channel) to contiguous (batch · head, token, channel)."""
    return x.reshape(-1, *x.shape[2:])


def _centred(key: Tensor) -> Tensor:
    """Keys minus their mean over tokens, contiguous (batch · head, token, channel).

    This changes no gradient, because each row of the scores' gradient sums to 0.
    """
    out = torch.empty(key.shape, dtype=key.dtype)
    torch.sub(key.detach(), key.detach().mean(2, keepdim=True), out=out)
    return out.flatten(0, 1)


def _scaled(query: Tensor, scale: float) -> Tensor:
    """Queries times the scale, contiguous (batch · head, token, channel), written in one pass like `_centred`."""
    if scale == 1.0:
        return _rows(query)
    out = torch.empty(query.shape, dtype=query.dtype)
    torch.mul(query.detach(), scale, out=out)
    return out.flatten(0, 1)


def _weights(query: Tensor, key: Tensor, hidden: Tensor | None) -> Tensor:
    """Attention weights (batch · head, token, other token): softmax over keys, 0 where `hidden` is True."""
    scores = torch.bmm(query, key.transpose(1, 2))
    return torch.softmax(scores if hidden is None else scores.masked_fill_(hidden, -torch.inf), dim=-1)


def _in_parts(query: Tensor, key: Tensor, value: Tensor, scale: float, hidden: Tensor | None) -> Tensor:
    q, k, v = _scaled(query, scale), _centred(key), _rows(value)
    out = torch.empty_like(q)
    count = max(1, _AT_ONCE // (q.shape[1] * k.shape[1]))  # number of heads at a time
    for start in range(0, len(q), count):
        part = slice(start, start + count)
        weights = _weights(q[part], k[part], None if hidden is None else hidden[part])
        torch.bmm(weights, v[part], out=out[part])
    return out.view(query.shape[:3] + value.shape[3:])


class _Attention(torch.autograd.Function):
    """The same attention with gradients; its weights are kept for the backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, hidden: Tensor | None
    ) -> Tensor:
        q, k, v = _scaled(query, scale), _centred(key), _rows(value)
        weights = _weights(q, k, hidden)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale = scale
        return torch.bmm(weights, v).view(query.shape[:3] + value.shape[3:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        q, k, v, weights = ctx.saved_tensors
        of_out = _rows(gradient)
        with torch.autocast("cpu", enabled=False):
            of_value = torch.bmm(weights.transpose(1, 2), of_out)
            of_weights = torch.bmm(of_out, v.transpose(1, 2))
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query = torch.bmm(of_scores, k).mul_(ctx.scale)
            of_key = torch.bmm(of_scores.transpose(1, 2), q)
        heads = gradient.shape[:2]
        query, key, value = (x.unflatten(0, heads) for x in (of_query, of_key, of_value))
        return query, key, value, None, None
