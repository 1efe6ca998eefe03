"""A human-mesh head for fast inference: its layers are folded and rounded once to one dtype.

The layers for people and the classification of tokens are matrix products in that dtype (`nn/frozen.py`). Rays, initial
values and the decoding of the last layers stay in fp32.
"""

from typing import cast

import torch
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.heads.human_mesh.attention import PeopleLayer
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.nn.attend import attention
from codistill.nn.folding import after_norm, plain
from codistill.nn.frozen import FrozenMlp, normalized
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.precision import full_precision


class FrozenPeopleLayer(nn.Module):
    """A `PeopleLayer` in one dtype, without gradients; autocast does not change it.

    Args:
        layer: the layer to copy.
        dtype: dtype of weights and people.
    """

    def __init__(self, layer: PeopleLayer, dtype: torch.dtype) -> None:
        super().__init__()
        own, cross = layer.self_attention, layer.cross_attention
        self.dtype, self.num_heads = dtype, own.num_heads
        self.eps = (layer.self_norm.eps, layer.cross_norm.eps, layer.mlp_norm.eps)
        self.qkv = FrozenLinear(after_norm(layer.self_norm, own.qkv), dtype)
        self.proj = FrozenLinear(plain(own.proj), dtype)
        self.query = FrozenLinear(after_norm(layer.cross_norm, cross.q), dtype)
        self.of_context = FrozenLinear(plain(cross.kv), dtype)
        self.cross_proj = FrozenLinear(plain(cross.proj), dtype)
        self.mlp = FrozenMlp(layer.mlp_norm, layer.mlp, nn.Identity(), dtype)

    @torch.no_grad()
    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """As `PeopleLayer.forward`; inputs of any dtype are converted to the layer's own."""
        with full_precision(x):
            x, context = x.to(self.dtype), context.to(self.dtype)
            z = normalized(x, self.eps[0])
            query, key, value = self.qkv(z).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
            x = self._mixed(query, key, value, self.proj, x, mask)
            query = self.query(normalized(x, self.eps[1])).unflatten(-1, (self.num_heads, -1))
            key, value = self.of_context(context).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
            x = self._mixed(query, key, value, self.cross_proj, x)
            return self.mlp(normalized(x, self.eps[2]), x)

    @staticmethod
    def _mixed(
        query: Tensor, key: Tensor, value: Tensor, proj: FrozenLinear, x: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """x + proj(attention), from queries, keys and values (batch, slot or token, head, head_dim)."""
        mixed = attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask=mask)
        return proj.add(mixed.transpose(1, 2).flatten(2), x)


class _Classify(nn.Module):
    """Linear, ReLU, Linear to a logit: the first layer in one dtype, the second in fp32."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.first = FrozenLinear(plain(cast(nn.Linear, layers[0])), dtype)
        self.last = layers[2]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, patch, 1) of tokens (batch, patch, channel)."""
        with full_precision(x):
            return self.last(self.first(x.to(self.dtype)).relu_().float())


def as_fast_as(encoder: Encoder, head: HumanMeshHead) -> HumanMeshHead:
    """The head in the precision of its encoder: changed in place to that dtype; unchanged for an exact encoder."""
    if not isinstance(encoder, FrozenViTEncoder) or isinstance(head.layers[0], FrozenPeopleLayer):
        return head
    head.requires_grad_(False)
    head.layers = nn.ModuleList(
        FrozenPeopleLayer(cast(PeopleLayer, layer), encoder.dtype) for layer in head.layers
    )
    head.classify = _Classify(head.classify, encoder.dtype)  # type: ignore[assignment]
    return head.eval()
