"""Self- and cross-attention, with parameter names as in the DINOv2 and CroCo files."""

import torch
from torch import Tensor, nn

from codistill.nn.attend import attention
from codistill.nn.linear import Linear
from codistill.nn.rope import RopeTables, apply_rope


class SelfAttention(nn.Module):
    """Multi-head self-attention with a fused qkv projection; optional 2-D RoPE on queries and keys."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)

    def heads(self, x: Tensor, rope: RopeTables | None) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # (batch, token, 3, head, head_dim)
        # Unbinding before transposing lets the backward pass write all three gradients in place, in one copy.
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        if rope is not None:
            query, key = apply_rope(query, rope), apply_rope(key, rope)
        return query, key, value

    def forward(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """Map (batch, token, channel) to the same shape."""
        query, key, value = self.heads(x, rope)  # (batch, head, token, head_dim)
        out = attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))

    def attention_map(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """Softmax weights (batch, head, query token, key token), for inspection only."""
        query, key, _ = self.heads(x, rope)
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # (batch, head, token, token)
        return torch.softmax(scores.float(), dim=-1)


class CrossAttention(nn.Module):
    """Multi-head attention from one set of tokens to another, with separate q, k, v projections (CroCo names)."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not divisible by num_heads {num_heads}")
        self.num_heads = num_heads
        self.projq = Linear(dim, dim, bias=qkv_bias)
        self.projk = Linear(dim, dim, bias=qkv_bias)
        self.projv = Linear(dim, dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)

    def forward(
        self,
        query: Tensor,
        context: Tensor,
        query_rope: RopeTables | None = None,
        context_rope: RopeTables | None = None,
    ) -> Tensor:
        """Queries (batch, token, channel) attend to context (batch, other token, channel)."""
        q, k, v = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (batch, head, token, head_dim)
            for layer, x in ((self.projq, query), (self.projk, context), (self.projv, context))
        )
        if query_rope is not None and context_rope is not None:
            q, k = apply_rope(q, query_rope), apply_rope(k, context_rope)
        out = attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))
