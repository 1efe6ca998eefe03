"""Fit the narrow encoder's blocks one after the other, from both encoders' residual streams on some images.

The layers after a norm are the wide encoder's, in the kept channels and with LayerNorm's weights folded in. The output
layers of attention and feed-forward (with LayerScale folded in) are least-squares fits. They map the outputs of the
kept heads or hidden units to the difference of the two streams after the same half of the block. This compensates for
earlier cuts.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from codistill.nn.attention import SelfAttention
from codistill.nn.blocks import Block, LayerScale, Mlp
from codistill.nn.moments import Moments, RidgeSums
from codistill.nn.rope import RopeTables

_RIDGE = 1e-3
"""Penalty of the least squares, relative to the inputs' mean variance: some inputs are nearly dependent."""


def fitted(sums: RidgeSums, ridge: float) -> tuple[Tensor, Tensor]:
    """Solve for the weight (output, input) and bias of a linear layer, fp32.

    The penalty is relative to the inputs' mean variance.
    """
    penalty = ridge * sums.variance().clamp_min(torch.finfo(torch.float32).tiny)
    weight, bias = sums.solve(penalty)
    return weight.T.float(), bias.float()


def centred(x: Tensor) -> Tensor:
    """Subtract from each token its mean over channels, as LayerNorm does."""
    return x - x.mean(-1, keepdim=True)


class BlockFit:
    """Both residual streams, and the fits that advance them by half a block.

    Args:
        turned: orthonormal directions that are kept (channel, narrow channel).
        wide, narrow: streams before the first block, one per batch (batch, token, channel).
        rope: tables for queries and keys, or None.
    """

    def __init__(
        self, turned: Tensor, wide: list[Tensor], narrow: list[Tensor], rope: RopeTables | None
    ) -> None:
        self.turned, self.wide, self.narrow, self.rope = turned, wide, narrow, rope

    def unexplained(self) -> float:
        """Share of the wide stream's variance, in the kept channels, that the narrow stream misses."""
        width = self.turned.shape[1]
        missed, whole = (Moments(width, self.turned.device, diagonal=True) for _ in range(2))
        for wide, narrow in zip(self.wide, self.narrow, strict=True):
            target = wide @ self.turned
            missed.add(target - narrow)
            whole.add(target)
        return float(missed.second().sum() / whole.covariance().sum())

    def attention(self, block: Block, small: Block) -> None:
        """Choose the heads, fit their output layer, and advance both streams."""
        output, bias = _scaled(block.attn.proj, block.ls1)
        mixed = [_mixed(block.attn, block.norm1(x), self.rope) for x in self.wide]
        seen = Moments(output.shape[1], output.device)
        for x in mixed:
            seen.add(x)
        visible = (output.T @ self.turned).double()  # (head channel, narrow channel)
        strength = (seen.covariance() @ visible * visible).sum(1).unflatten(0, (block.attn.num_heads, -1))
        width = strength.shape[1]
        heads = _strongest(strength.sum(1), small.attn.num_heads)  # strength: (head, head_dim)
        rows = (heads[:, None] * width + torch.arange(width, device=heads.device)).flatten()
        self._turn(
            block.norm1, block.attn.qkv, _in_parts(rows, output.shape[1], 3), small.norm1, small.attn.qkv
        )
        self.wide = [x + y @ output.T + bias for x, y in zip(self.wide, mixed, strict=True)]
        inputs = (_mixed(small.attn, small.norm1(x), self.rope) for x in self.narrow)
        self._fit(inputs, small.attn.proj, small.ls1)

    def feed_forward(self, block: Block, small: Block) -> None:
        """Choose the hidden units, fit their output layer, and advance both streams."""
        first, last = _layers(block.mlp)
        output, bias = _scaled(last, block.ls2)
        seen = Moments(output.shape[1], output.device, diagonal=True)
        moved = []
        for x in self.wide:
            hidden = _hidden(block.mlp, block.norm2(x))
            seen.add(hidden)
            moved.append(x + hidden @ output.T + bias)
        strength = seen.covariance() * (output.T @ self.turned).double().square().sum(1)  # (hidden,)
        small_first, small_last = _layers(small.mlp)
        rows = _strongest(strength, small_last.in_features)
        parts = first.out_features // output.shape[1]  # 2 for SwiGLU
        self._turn(block.norm2, first, _in_parts(rows, output.shape[1], parts), small.norm2, small_first)
        self.wide = moved
        self._fit((_hidden(small.mlp, small.norm2(x)) for x in self.narrow), small_last, small.ls2)

    def _turn(
        self, norm: nn.LayerNorm, layer: nn.Linear, rows: Tensor, small_norm: nn.LayerNorm, small: nn.Linear
    ) -> None:
        """Copy the chosen outputs of a layer after a norm, for the narrow stream.

        Each norm divides by the spread of its own channels, so the weights are multiplied by the ratio of the two
        spreads.
        """
        ratios = torch.stack(
            [
                (centred(narrow).norm(dim=-1) / centred(wide).norm(dim=-1)).double().mean() * len(narrow)
                for wide, narrow in zip(self.wide, self.narrow, strict=True)
            ]
        )
        ratio = float(ratios.sum() / sum(map(len, self.narrow)))
        ratio *= (self.turned.shape[0] / self.turned.shape[1]) ** 0.5
        weight = layer.weight[rows]  # (row, channel)
        small_norm.weight.fill_(1.0)
        small_norm.bias.zero_()
        small.weight.copy_((weight * norm.weight) @ self.turned * ratio)
        if layer.bias is not None:
            small.bias.copy_(layer.bias[rows] + weight @ norm.bias)

    def _fit(self, inputs: Iterable[Tensor], layer: nn.Linear, scale: nn.Module) -> None:
        """Fit an output layer to what the narrow stream still lacks, and add its output to that stream."""
        given = list(inputs)
        sums = RidgeSums()
        for x, wide, narrow in zip(given, self.wide, self.narrow, strict=True):
            sums.add(x.flatten(0, -2), (wide @ self.turned - narrow).flatten(0, -2))
        weight, bias = fitted(sums, _RIDGE)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        if isinstance(scale, LayerScale):
            scale.gamma.fill_(1.0)
        self.narrow = [narrow + layer(x) for x, narrow in zip(given, self.narrow, strict=True)]


def _strongest(strength: Tensor, count: int) -> Tensor:
    return strength.topk(count).indices.sort().values


def _in_parts(rows: Tensor, width: int, parts: int) -> Tensor:
    """Repeat the rows in each of `parts` stacked layers of `width` outputs: q, k, v, or SwiGLU's two."""
    return torch.cat([rows + part * width for part in range(parts)])


def _scaled(layer: nn.Linear, scale: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias with the following LayerScale folded in."""
    if isinstance(scale, LayerScale):
        return scale.gamma[:, None] * layer.weight, scale.gamma * layer.bias
    return layer.weight, layer.bias


def _mixed(attention: SelfAttention, x: Tensor, rope: RopeTables | None) -> Tensor:
    """The heads' outputs, which are the input of attention's output layer, (batch, token, channel)."""
    query, key, value = attention.heads(x, rope)
    return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _layers(feed_forward: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    names = ("fc1", "fc2") if isinstance(feed_forward, Mlp) else ("w12", "w3")
    first, last = (feed_forward.get_submodule(name) for name in names)
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    return first, last


def _hidden(feed_forward: nn.Module, x: Tensor) -> Tensor:
    """The hidden units, which are the input of feed-forward's output layer, (batch, token, hidden)."""
    if isinstance(feed_forward, Mlp):
        return feed_forward.hidden(x)
    one, two = _layers(feed_forward)[0](x).chunk(2, dim=-1)
    return silu(one) * two
