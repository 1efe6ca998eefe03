"""A two-view head for fast inference: a `TwoViewHead` whose decoder is frozen in one dtype.

The decoder is folded and rounded once (`nn/frozen_decoder.py`). The layers that turn its tokens into points,
confidences and descriptors stay in fp32, since exponentials would make rounding errors large.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.heads.two_view.network import TwoViewHead, ViewPrediction
from codistill.nn.blocks import DecoderBlock
from codistill.nn.folding import plain
from codistill.nn.frozen import normalized
from codistill.nn.frozen_decoder import FrozenDecoderBlock
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.precision import full_precision
from codistill.nn.rope import cached_grid_tables, rotations
from codistill.types import Tokens


class FrozenTwoViewHead(TwoViewHead):
    """A `TwoViewHead` without gradients; autocast does not change it.

    Args:
        head: the head to copy; the layers behind its decoder are shared with it, and frozen.
        dtype: dtype of the decoder.
    """

    def __init__(self, head: TwoViewHead, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.config, self.dtype = head.config, dtype
        if head.config.fresh_norm:
            self.norm = head.norm
        self.decoder_norm, self.heads = head.decoder_norm, head.heads
        self.requires_grad_(False)
        self.embed = FrozenLinear(plain(head.embed), dtype)
        branches = [
            nn.ModuleList(FrozenDecoderBlock(cast(DecoderBlock, block), dtype) for block in blocks)
            for blocks in (head.blocks1, head.blocks2)
        ]
        self.blocks1, self.blocks2 = branches
        self._known: dict[tuple[int, int], Tensor] = {}  # rotations by grid
        self.eval()

    def _apply(self, *args: Any, **options: Any) -> "FrozenTwoViewHead":
        self._known.clear()
        return super()._apply(*args, **options)

    def _rotations(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        """`rotations` for the tokens of a grid; those of the last few grids are cached."""
        if grid not in self._known:
            if len(self._known) >= 32:
                self._known.clear()
            config = self.config
            tables = cached_grid_tables(*grid, config.dim // config.num_heads, config.rope_base, device)
            self._known[grid] = rotations(tables, self.dtype)
        return self._known[grid]

    @torch.no_grad()
    def decode(self, view1: Tokens, view2: Tokens) -> tuple[list[Tensor], list[Tensor]]:
        """As `TwoViewHead.decode`; the first and the last tensor of each list are fp32, the others in the dtype."""
        config = self.config
        rope1, rope2 = (self._rotations(view.grid, view.patches.device) for view in (view1, view2))
        with full_precision(view1.patches):
            first = [view.patches.float() for view in (view1, view2)]
            if config.fresh_norm:
                first = [self.norm(x) for x in first]
            x1, x2 = (self.embed(_tokens_first(x, self.dtype)) for x in first)  # (token, batch, channel)
            layers1, layers2 = [first[0]], [first[1]]
            for one, two in zip(self.blocks1, self.blocks2, strict=True):
                block1, block2 = cast(FrozenDecoderBlock, one), cast(FrozenDecoderBlock, two)
                z1, z2 = normalized(x1, block1.own_eps), normalized(x2, block2.own_eps)
                # Each branch's context is the other's normalized input; it can be shared since all norms have one eps.
                assert block1.own_eps == block2.own_eps == block1.context_eps == block2.context_eps
                x1, x2 = block1(x1, z1, z2, rope1, rope2), block2(x2, z2, z1, rope2, rope1)
                layers1.append(x1.transpose(0, 1))
                layers2.append(x2.transpose(0, 1))
            norm = self.decoder_norm
            layers1[-1], layers2[-1] = (
                layer_norm(x[-1].float(), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
                for x in (layers1, layers2)
            )
            for layers in (layers1, layers2):
                for chosen in config.dense_layers:  # the layers that the convolutions read
                    layers[chosen] = layers[chosen].contiguous()
        return layers1, layers2

    @torch.no_grad()
    def forward(
        self, view1: Tokens, view2: Tokens, pixels: tuple[Tensor, Tensor] | None = None
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """As `TwoViewHead.forward`."""
        return super().forward(view1, view2, pixels)


def _tokens_first(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert (batch, token, channel) to contiguous (token, batch, channel) in a dtype."""
    return x.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format)


def as_fast_as(encoder: Encoder, head: TwoViewHead) -> TwoViewHead:
    """The head in the precision of its encoder: frozen in that dtype, or unchanged for an exact encoder."""
    return FrozenTwoViewHead(head, encoder.dtype) if isinstance(encoder, FrozenViTEncoder) else head
