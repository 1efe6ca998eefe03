"""Frozen transformer blocks and vision transformers at full speed: a network in, the same one in one dtype out.

Built once: factors of norms and LayerScale are folded into the products (`folding.py`), then everything is rounded to
one dtype. Between the products nothing changes dtype: the residual stream is contiguous and in the weights' dtype,
norms add up in fp32. The patch embedding is a product, positions are kept for each grid. Tokens come out in fp32.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad, silu

from codistill.nn.attend import attention
from codistill.nn.blocks import ACTIVATIONS, Block, Mlp, SwiGlu
from codistill.nn.folding import after_norm, before_scale, halves_of_quarters, scaled_queries
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.position import resize_position_embedding
from codistill.nn.precision import full_precision
from codistill.nn.rope import RopeTables, cached_grid_tables
from codistill.nn.vit import PatchEmbedding, VisionTransformer
from codistill.types import Tokens

_ALIGNED = 16
"""The patch product's inner size is a multiple of this: 588 channels of a 14-pixel patch would be slow in bf16."""


class FrozenMlp(nn.Module):
    """norm, Linear, activation, Linear, LayerScale and residual of a block."""

    def __init__(self, norm: nn.LayerNorm, mlp: nn.Module, scale: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        assert isinstance(mlp, (Mlp, SwiGlu))
        first, last = (mlp.fc1, mlp.fc2) if isinstance(mlp, Mlp) else (mlp.w12, mlp.w3)
        self.activation = mlp.activation if isinstance(mlp, Mlp) else "swiglu"
        self.first = FrozenLinear(after_norm(norm, first), dtype)
        self.last = FrozenLinear(before_scale(last, scale), dtype)

    def forward(self, z: Tensor, residual: Tensor) -> Tensor:
        """Normalized tokens and the residual stream, each (batch, token, channel), to the stream."""
        if self.activation == "swiglu":
            one, two = self.first(z).chunk(2, dim=-1)
            hidden = silu(one).mul_(two)
        elif self.activation in ("gelu", "gelu_tanh"):
            hidden = self.first.gelu(z, "none" if self.activation == "gelu" else "tanh")
        else:
            hidden = ACTIVATIONS[self.activation](self.first(z))
        return self.last.add(hidden, residual)


class FrozenBlock(nn.Module):
    """A `Block` in one dtype.

    Args:
        block: to copy.
        dtype: of weights and tokens.
        rotated: it will get RoPE tables, and the channels of queries and keys are ordered for them.
    """

    def __init__(self, block: Block, dtype: torch.dtype, *, rotated: bool = False) -> None:
        super().__init__()
        self.num_heads, self.rotated = block.attn.num_heads, rotated
        self.eps = (block.norm1.eps, block.norm2.eps)
        dim = block.attn.proj.in_features
        qkv = scaled_queries(
            after_norm(block.norm1, block.attn.qkv), (dim // self.num_heads) ** -0.5
        )  # no scale in attention
        self.qkv = FrozenLinear(halves_of_quarters(qkv, self.num_heads) if rotated else qkv, dtype)
        self.proj = FrozenLinear(before_scale(block.attn.proj, block.ls1), dtype)
        self.mlp = FrozenMlp(block.norm2, block.mlp, block.ls2, dtype)

    def forward(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """(batch, token, channel) to the same; RoPE tables as of `frozen_rope`."""
        query, key, value = self._heads(x, rope)
        mixed = attention(query, key, value, scale=1.0)
        x = self.proj.add(mixed.transpose(1, 2).flatten(2), x)
        return self.mlp(normalized(x, self.eps[1]), x)

    def _heads(self, x: Tensor, rope: RopeTables | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, head, token, head_dim)."""
        qkv = self.qkv(normalized(x, self.eps[0])).unflatten(2, (3, self.num_heads, -1))
        if rope is None:
            query, key, value = qkv.unbind(2)
        else:
            query, key = rotated(qkv[:, :, :2], rope).unbind(2)
            value = qkv[:, :, 2]
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def attention_map(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """Softmax weights (batch, head, query token, key token), for inspection only."""
        query, key, _ = self._heads(x, rope)
        return torch.softmax((query @ key.transpose(-2, -1)).float(), dim=-1)


def normalized(x: Tensor, eps: float) -> Tensor:
    """Tokens with zero mean and unit deviation over channels; the norm's factors are in the next product."""
    return layer_norm(x, x.shape[-1:], None, None, eps)


def frozen_rope(tables: RopeTables, dtype: torch.dtype) -> RopeTables:
    """Tables for channels in the order of `halves_of_quarters`: cosines of all, sines of one half, in a dtype.

    Returns:
        (token, 1, 1, head_dim) and (token, 1, 1, head_dim / 2), to meet (batch, token, q/k, head, channel).
    """
    cos, sin = (
        table[:, None, None].unflatten(-1, (4, -1)) for table in tables
    )  # signed: -row, row, -column, column
    a, b, c, d = cos.unbind(-2)
    return torch.cat((a, c, b, d), dim=-1).to(dtype), sin[..., 1::2, :].flatten(-2).to(dtype)


def rotated(x: Tensor, rope: RopeTables) -> Tensor:
    """Queries and keys (batch, token, q/k, head, channel), turned."""
    cos, sin = rope
    one, two = x.chunk(2, dim=-1)
    if torch.compiler.is_compiling():
        return x * cos + torch.cat((-two * sin, one * sin), dim=-1)
    turned = x * cos
    first, second = turned.chunk(2, dim=-1)
    first.addcmul_(two, sin, value=-1.0)
    second.addcmul_(one, sin)
    return turned


class FrozenPatches(nn.Module):
    """A `PatchEmbedding` as a product of (batch, patch, 3 · patch²), padded to a multiple of 16, in one dtype."""

    def __init__(self, embedding: PatchEmbedding, dtype: torch.dtype) -> None:
        super().__init__()
        weight = embedding.proj.weight.detach().double().flatten(1)  # (channel, 3 · patch²)
        bias = embedding.proj.bias
        assert bias is not None
        self.patch, self.missing = embedding.proj.kernel_size[0], -weight.shape[1] % _ALIGNED
        self.product = FrozenLinear((pad(weight, (0, self.missing)), bias.detach().double()), dtype)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, row, column) pixels to (batch, patch, channel)."""
        batch, colours, height, width = images.shape
        size, rows, columns = self.patch, height // self.patch, width // self.patch
        inner = colours * size * size
        x = torch.empty(
            batch, rows, columns, inner + self.missing, dtype=self.product.weight.dtype, device=images.device
        )
        parts = images.unflatten(3, (columns, size)).unflatten(
            2, (rows, size)
        )  # (batch, 3, rows, y, columns, x)
        x[..., :inner].unflatten(-1, (colours, size, size)).copy_(parts.permute(0, 2, 4, 1, 3, 5))
        x[..., inner:] = 0.0
        return self.product(x.flatten(1, 2))


class FrozenVisionTransformer(VisionTransformer):
    """A `VisionTransformer` in one dtype, without gradients; autocast does not change it.

    Args:
        network: to copy; it is not changed.
        dtype: of weights and activations.
    """

    dtype: torch.dtype
    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(self, network: VisionTransformer, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        config = network.config
        self.config, self.dtype = config, dtype
        self.patch_embed = FrozenPatches(network.patch_embed, dtype)
        rotated = config.position == "rope"
        self.blocks = nn.ModuleList(FrozenBlock(block, dtype, rotated=rotated) for block in network.blocks)  # type: ignore[arg-type]
        for name in ("cls_token", "register_tokens", "pos_embed"):
            tensor = getattr(network, name, None)
            self.register_buffer(
                name, None if tensor is None else tensor.detach().float().clone(), persistent=False
            )
        self.register_buffer("norm_weight", network.norm.weight.detach().float().clone(), persistent=False)
        self.register_buffer("norm_bias", network.norm.bias.detach().float().clone(), persistent=False)
        self._places: dict[tuple[int, int], tuple[Tensor, Tensor, RopeTables | None]] = {}

    def _apply(self, *args: Any, **options: Any) -> "FrozenVisionTransformer":
        self._places.clear()
        return super()._apply(*args, **options)

    def _place(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor, RopeTables | None]:
        """Prefix tokens (1, prefix, channel), positions of patches (1, patch, channel) and RoPE tables of a grid."""
        if grid in self._places:
            return self._places[grid]
        config = self.config
        zero = self.norm_weight.new_zeros(1, 0, config.dim)
        cls, registers = (zero if t is None else t for t in (self.cls_token, self.register_tokens))
        rope, position = None, self.norm_weight.new_zeros(1, 1, config.dim)
        if config.position == "learned":
            whole = resize_position_embedding(
                self.pos_embed,
                grid,
                num_prefix=config.num_prefix,
                offset=config.position_offset,
                antialias=config.position_antialias,
            )
            cls, position = cls + whole[:, : config.num_prefix], whole[:, config.num_prefix :]
        else:
            unrotated = config.num_prefix + config.num_registers
            head_dim, device = config.dim // config.num_heads, self.norm_weight.device
            tables = cached_grid_tables(*grid, head_dim, config.rope_base, device, unrotated)
            rope = frozen_rope(tables, self.dtype)
        if len(self._places) >= 32:
            self._places.clear()
        self._places[grid] = (torch.cat((cls, registers), dim=1), position, rope)
        return self._places[grid]

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int], RopeTables | None]:
        """Token sequence before the first block, contiguous, its grid, and RoPE tables where they are used."""
        grid = self.grid_of(images)
        prefix, position, rope = self._place(grid)
        patches = self.patch_embed(images)
        first = prefix.shape[1]
        x = patches.new_empty(patches.shape[0], first + patches.shape[1], self.config.dim)
        x[:, :first] = prefix
        torch.add(patches, position, out=x[:, first:])  # summed in fp32, rounded once
        return x, grid, rope

    def as_tokens(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a token sequence into `Tokens` in fp32, the final norm applied if `norm`."""
        x = x.float()
        if norm:
            x = layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, self.config.norm_eps)
        return self.split(x, grid, norm)

    @torch.no_grad()
    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        with full_precision(images):
            return VisionTransformer.encode(self, images, norm)

    @torch.no_grad()
    def encode_blocks(self, images: Tensor, blocks: Any, norm: bool = True) -> list[Tokens]:
        with full_precision(images):
            return VisionTransformer.encode_blocks(self, images, blocks, norm)

    @torch.no_grad()
    def attention_map(self, images: Tensor, block: int = -1) -> Tensor:
        with full_precision(images):
            return VisionTransformer.attention_map(self, images, block)
