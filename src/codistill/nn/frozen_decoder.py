"""Frozen decoder blocks at full speed: a `DecoderBlock` in, the same one in one dtype out; see `frozen.py`.

A block normalizes its own tokens and those of the other view; the other view's block normalizes the same two. Without
the norms' factors, which are in the products, these are the same numbers: they are computed once and passed in.
"""

import torch
from torch import Tensor, nn

from codistill.nn.attend import attention
from codistill.nn.blocks import DecoderBlock
from codistill.nn.folding import Folded, after_norm, halves_of_quarters, plain, scaled_queries, stacked
from codistill.nn.frozen import FrozenMlp, normalized, rotated
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.rope import RopeTables


class FrozenDecoderBlock(nn.Module):
    """A `DecoderBlock` in one dtype, without gradients.

    Args:
        block: to copy.
        dtype: of weights and tokens.
    """

    def __init__(self, block: DecoderBlock, dtype: torch.dtype) -> None:
        super().__init__()
        heads = self.num_heads = block.attn.num_heads
        factor = (block.attn.proj.in_features // heads) ** -0.5  # no scale in attention
        qkv = scaled_queries(after_norm(block.norm1, block.attn.qkv), factor)
        self.qkv = FrozenLinear(halves_of_quarters(qkv, heads), dtype)
        self.proj = FrozenLinear(plain(block.attn.proj), dtype)
        cross = block.cross_attn
        query = _times(after_norm(block.norm2, cross.projq), factor)
        self.query = FrozenLinear(halves_of_quarters(query, heads, parts=1, turned=1), dtype)
        of_context = stacked(*(after_norm(block.norm_y, layer) for layer in (cross.projk, cross.projv)))
        self.of_context = FrozenLinear(halves_of_quarters(of_context, heads, parts=2, turned=1), dtype)
        self.cross_proj = FrozenLinear(plain(cross.proj), dtype)
        self.mlp = FrozenMlp(block.norm3, block.mlp, nn.Identity(), dtype)
        self.own_eps, self.context_eps = block.norm1.eps, block.norm_y.eps
        self.later_eps = (block.norm2.eps, block.norm3.eps)

    def forward(
        self, x: Tensor, z: Tensor, context: Tensor, rope: RopeTables, context_rope: RopeTables
    ) -> Tensor:
        """Tokens after the block, (batch, token, channel).

        Args:
            x, z: this view's tokens, and the same `normalized` by `own_eps`.
            context: the other view's tokens, `normalized` by `context_eps`, (batch, other token, channel).
            rope, context_rope: of the two views, as of `frozen_rope`.
        """
        qkv = self.qkv(z).unflatten(2, (3, self.num_heads, -1))  # (batch, token, q/k/v, head, head_dim)
        query, key = rotated(qkv[:, :, :2], rope).unbind(2)
        x = self._mixed(query, key, qkv[:, :, 2], self.proj, x)
        query = self.query(normalized(x, self.later_eps[0])).unflatten(2, (1, self.num_heads, -1))
        both = self.of_context(context).unflatten(2, (2, self.num_heads, -1))
        query, key = rotated(query, rope)[:, :, 0], rotated(both[:, :, :1], context_rope)[:, :, 0]
        x = self._mixed(query, key, both[:, :, 1], self.cross_proj, x)
        return self.mlp(normalized(x, self.later_eps[1]), x)

    @staticmethod
    def _mixed(query: Tensor, key: Tensor, value: Tensor, proj: FrozenLinear, x: Tensor) -> Tensor:
        """x + proj(attention), of (batch, token, head, head_dim) queries, keys and values."""
        mixed = attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=1.0)
        return proj.add(mixed.transpose(1, 2).flatten(2), x)


def _times(folded: Folded, factor: float) -> Folded:
    return folded[0] * factor, folded[1] * factor
