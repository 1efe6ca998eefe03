"""Folding: what stands between two products of a frozen network is multiplied into their weights.

    layer(norm.weight · z + norm.bias)  =  (W · norm.weight) z + (b + W norm.bias)      for z = (x - mean) / deviation
    gamma · layer(h)                    =  (gamma · W) h + gamma · b                    LayerScale

Modules in, weights (output, input) and biases (output,) in double precision out, to be rounded once.
"""

import torch
from torch import Tensor, nn

from codistill.nn.blocks import LayerScale

Folded = tuple[Tensor, Tensor]
"""Weight and bias."""


def plain(layer: nn.Linear) -> Folded:
    """A layer's own weight and bias; zeros where it has none."""
    weight = layer.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
    return weight, bias


def after_norm(norm: nn.LayerNorm, layer: nn.Linear) -> Folded:
    """A layer that follows a LayerNorm, for an input that is normalized only."""
    weight, bias = plain(layer)
    return weight * norm.weight.detach().double(), bias + weight @ norm.bias.detach().double()


def before_scale(layer: nn.Linear, scale: nn.Module) -> Folded:
    """A layer with the LayerScale behind it, if that is one."""
    weight, bias = plain(layer)
    if not isinstance(scale, LayerScale):
        return weight, bias
    gamma = scale.gamma.detach().double()
    return gamma[:, None] * weight, gamma * bias


def stacked(*layers: Folded) -> Folded:
    """Layers with the same input as one, whose outputs follow each other."""
    return torch.cat([weight for weight, _ in layers]), torch.cat([bias for _, bias in layers])


def scaled_queries(folded: Folded, factor: float) -> Folded:
    """A qkv layer whose queries, its first third, are multiplied by a factor."""
    weight, bias = (x.clone() for x in folded)
    queries = len(weight) // 3
    weight[:queries] *= factor
    bias[:queries] *= factor
    return weight, bias


def halves_of_quarters(folded: Folded, num_heads: int, parts: int = 3, turned: int = 2) -> Folded:
    """A layer for attention whose queries and keys have the quarters (a, b, c, d) of each head as (a, c, b, d).

    2-D RoPE turns the pairs (a, b) and (c, d); so they are the first and second half. Scores do not change.

    Args:
        folded: the layer. num_heads: of the attention.
        parts: of its outputs: 3 for queries, keys and values, 2 for keys and values, 1 for queries.
        turned: how many of them, the first ones, are queries or keys.
    """

    def reordered(x: Tensor) -> Tensor:
        whole = x.unflatten(0, (parts, num_heads, 4, -1))  # (q/k/v, head, quarter, head_dim / 4[, input])
        first = whole[:turned, :, torch.tensor([0, 2, 1, 3])]
        return torch.cat((first, whole[turned:])).flatten(0, 3)

    return reordered(folded[0]), reordered(folded[1])
