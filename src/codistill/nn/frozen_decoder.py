"""Frozen decoder blocks for fast inference: a `DecoderBlock` in, the same one in one dtype out; see `frozen.py`.

A block normalizes its own tokens and those of the other view, and the other view's block normalizes the same two sets.
The factors of the norms are folded into the products, so that both blocks need the same normalized tokens. These are
computed once and passed in.
"""

import torch
from torch import Tensor, nn

from codistill.nn.attend import attention
from codistill.nn.blocks import DecoderBlock
from codistill.nn.folding import after_norm, parted, plain, scaled_queries
from codistill.nn.frozen import FrozenMlp, normalized
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.rope import turned


class FrozenDecoderBlock(nn.Module):
    """A `DecoderBlock` in one dtype, without gradients.

    Args:
        block: the block to copy.
        dtype: dtype of weights and tokens.
    """

    def __init__(self, block: DecoderBlock, dtype: torch.dtype) -> None:
        super().__init__()
        own, cross = block.attn, block.cross_attn
        self.num_heads, dim = own.num_heads, own.proj.in_features
        factor = (dim // own.num_heads) ** -0.5  # attention then needs no scale
        qkv = scaled_queries(after_norm(block.norm1, own.qkv), factor)
        self.qk, self.value = (FrozenLinear(part, dtype) for part in parted(qkv, 2 * dim))
        self.proj = FrozenLinear(plain(own.proj), dtype)
        weight, bias = after_norm(block.norm2, cross.projq)
        self.query = FrozenLinear((weight * factor, bias * factor), dtype)
        self.other_key = FrozenLinear(after_norm(block.norm_y, cross.projk), dtype)
        self.other_value = FrozenLinear(after_norm(block.norm_y, cross.projv), dtype)
        self.cross_proj = FrozenLinear(plain(cross.proj), dtype)
        self.mlp = FrozenMlp(block.norm3, block.mlp, nn.Identity(), dtype)
        self.own_eps, self.context_eps = block.norm1.eps, block.norm_y.eps
        self.later_eps = (block.norm2.eps, block.norm3.eps)

    def forward(self, x: Tensor, z: Tensor, context: Tensor, rope: Tensor, context_rope: Tensor) -> Tensor:
        """Tokens after the block, (token, batch, channel).

        Args:
            x, z: this view's tokens, and the same tokens `normalized` with `own_eps`.
            context: the other view's tokens, `normalized` with `context_eps`, (other token, batch, channel).
            rope, context_rope: `rotations` of the two views.
        """
        query, key = turned(self.qk(z).unflatten(2, (2, self.num_heads, -1)), rope).unbind(2)
        x = self._mixed(query, key, self._heads(self.value(z)), self.proj, x)
        query = turned(self._heads(self.query(normalized(x, self.later_eps[0]))), rope)
        key = turned(self._heads(self.other_key(context)), context_rope)
        x = self._mixed(query, key, self._heads(self.other_value(context)), self.cross_proj, x)
        return self.mlp(normalized(x, self.later_eps[1]), x)

    def _heads(self, x: Tensor) -> Tensor:
        """Split channels into heads: (token, batch, channel) to (token, batch, head, head_dim)."""
        return x.unflatten(2, (self.num_heads, -1))

    @staticmethod
    def _mixed(query: Tensor, key: Tensor, value: Tensor, proj: FrozenLinear, x: Tensor) -> Tensor:
        """x + proj(attention), for queries, keys and values (token, batch, head, head_dim)."""
        query, key, value = (part.permute(1, 2, 0, 3) for part in (query, key, value))
        mixed = attention(query, key, value, scale=1.0)
        return proj.add(mixed.permute(2, 0, 1, 3).flatten(2), x)
