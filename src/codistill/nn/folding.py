"""Folding: factors between two matrix products of a frozen network are multiplied into their weights.

    layer(norm.weight · z + norm.bias)  =  (W · norm.weight) z + (b + W norm.bias)      for z = (x - mean) / deviation
    gamma · layer(h)                    =  (gamma · W) h + gamma · b                    LayerScale

Modules in; weights (output, input) and biases (output,) in double precision out, which are then rounded once.
"""

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
    """A layer with the factors of the LayerNorm before it, for an input that is only normalized."""
    weight, bias = plain(layer)
    return weight * norm.weight.detach().double(), bias + weight @ norm.bias.detach().double()


def before_scale(layer: nn.Linear, scale: nn.Module) -> Folded:
    """A layer with the factors of the LayerScale after it; `scale` may be another module, which is ignored."""
    weight, bias = plain(layer)
    if not isinstance(scale, LayerScale):
        return weight, bias
    gamma = scale.gamma.detach().double()
    return gamma[:, None] * weight, gamma * bias


def scaled_queries(folded: Folded, factor: float) -> Folded:
    """A qkv layer whose queries, its first third, are multiplied by a factor."""
    weight, bias = (x.clone() for x in folded)
    queries = len(weight) // 3
    weight[:queries] *= factor
    bias[:queries] *= factor
    return weight, bias


def parted(folded: Folded, rows: int) -> tuple[Folded, Folded]:
    """Split a layer into two: its first `rows` outputs, and the others."""
    weight, bias = folded
    return (weight[:rows], bias[:rows]), (weight[rows:], bias[rows:])
