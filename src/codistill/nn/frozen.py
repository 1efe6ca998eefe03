"""Frozen transformer blocks and vision transformers for fast inference: a network in, the same one in one dtype out.

When the copy is built, the factors of norms and LayerScale are folded into the matrix products (`folding.py`), and
everything is rounded to one dtype once. No tensor is cast between the products: the residual stream is contiguous and
has the weights' dtype, and norms accumulate in fp32. The patch embedding is a matrix product, and position embeddings
are cached for each grid. Tokens are returned in fp32. With RoPE the stream is (token, batch, channel): the queries and
keys of a token, for all images and heads, then form one matrix, which one product with the token's rotation rotates.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad, silu

from codistill.errors import ConfigError
from codistill.geometry.full_precision import full_precision
from codistill.nn.attend import attention
from codistill.nn.blocks import ACTIVATIONS, Block, Mlp, SwiGlu
from codistill.nn.folding import after_norm, before_scale, parted, scaled_queries
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.int8_linear import Int8Linear
from codistill.nn.position import resize_position_embedding
from codistill.nn.rope import cached_grid_tables, rotations, turned
from codistill.nn.vit import PatchEmbedding, VisionTransformer
from codistill.types import Tokens

_ALIGNED = 16
"""The inner size of the patch product is padded to a multiple of this; the 588 of a 14-pixel patch is slow in bf16."""


FrozenLayer = type[FrozenLinear] | type[Int8Linear]


class FrozenMlp(nn.Module):
    """norm, Linear, activation, Linear, LayerScale and residual of a block."""

    def __init__(
        self,
        norm: nn.LayerNorm,
        mlp: nn.Module,
        scale: nn.Module,
        dtype: torch.dtype,
        linear: FrozenLayer = FrozenLinear,
    ) -> None:
        super().__init__()
        assert isinstance(mlp, (Mlp, SwiGlu))
        first, last = (mlp.fc1, mlp.fc2) if isinstance(mlp, Mlp) else (mlp.w12, mlp.w3)
        self.activation = mlp.activation if isinstance(mlp, Mlp) else "swiglu"
        self.first = linear(after_norm(norm, first), dtype)
        self.last = linear(before_scale(last, scale), dtype)

    def forward(self, z: Tensor, residual: Tensor) -> Tensor:
        """New residual stream from normalized tokens and the residual stream, each (batch, token, channel)."""
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
        block: the block to copy.
        dtype: dtype of weights and tokens.
        rotated: whether the block gets `rotations` of RoPE; its tokens are then (token, batch, channel).
        linear: class of its linear layers.
    """

    def __init__(
        self, block: Block, dtype: torch.dtype, *, rotated: bool = False, linear: FrozenLayer = FrozenLinear
    ) -> None:
        super().__init__()
        self.num_heads, self.rotated = block.attn.num_heads, rotated
        self.eps = (block.norm1.eps, block.norm2.eps)
        dim = block.attn.proj.in_features
        # Attention then needs no scale.
        qkv = scaled_queries(after_norm(block.norm1, block.attn.qkv), (dim // self.num_heads) ** -0.5)
        if rotated:  # queries and keys of a token form one matrix
            self.qk, self.value = (linear(part, dtype) for part in parted(qkv, 2 * dim))
        else:
            self.qkv = linear(qkv, dtype)
        self.proj = linear(before_scale(block.attn.proj, block.ls1), dtype)
        self.mlp = FrozenMlp(block.norm2, block.mlp, block.ls2, dtype, linear)

    def forward(self, x: Tensor, rope: Tensor | None = None) -> Tensor:
        """Map (batch, token, channel) to the same shape; (token, batch, channel) for a rotated block, with `rope`."""
        mixed = attention(*self._heads(x, rope), scale=1.0)  # (batch, head, token, head_dim)
        mixed = mixed.transpose(1, 2) if rope is None else mixed.permute(2, 0, 1, 3)
        x = self.proj.add(mixed.flatten(2), x)
        return self.mlp(normalized(x, self.eps[1]), x)

    def _heads(self, x: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, head, token, head_dim)."""
        z = normalized(x, self.eps[0])
        if rope is None:
            query, key, value = self.qkv(z).unflatten(2, (3, self.num_heads, -1)).unbind(2)
            return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        query, key = turned(self.qk(z).unflatten(2, (2, self.num_heads, -1)), rope).unbind(2)
        value = self.value(z).unflatten(2, (self.num_heads, -1))
        return query.permute(1, 2, 0, 3), key.permute(1, 2, 0, 3), value.permute(1, 2, 0, 3)

    def attention_map(self, x: Tensor, rope: Tensor | None = None) -> Tensor:
        """Softmax weights (batch, head, query token, key token), for inspection only."""
        query, key, _ = self._heads(x, rope)
        return torch.softmax((query @ key.transpose(-2, -1)).float(), dim=-1)


def normalized(x: Tensor, eps: float) -> Tensor:
    """Normalize tokens (…, channel) to zero mean and unit variance; the norm's factors are in the next product."""
    return layer_norm(x, x.shape[-1:], None, None, eps)


class FrozenPatches(nn.Module):
    """A `PatchEmbedding` in one dtype, as a product on (batch, patch, 3 · patch²) padded to a multiple of 16."""

    def __init__(self, embedding: PatchEmbedding, dtype: torch.dtype) -> None:
        super().__init__()
        weight = embedding.proj.weight.detach().double().flatten(1)  # (channel, 3 · patch²)
        bias = embedding.proj.bias
        assert bias is not None
        self.patch, self.missing = embedding.proj.kernel_size[0], -weight.shape[1] % _ALIGNED
        self.product = FrozenLinear((pad(weight, (0, self.missing)), bias.detach().double()), dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (batch, 3, row, column) to tokens (batch, patch, channel)."""
        batch, colours, height, width = images.shape
        size, rows, columns = self.patch, height // self.patch, width // self.patch
        inner = colours * size * size
        x = torch.empty(
            batch, rows, columns, inner + self.missing, dtype=self.product.weight.dtype, device=images.device
        )
        # (batch, 3, rows, y, columns, x).
        parts = images.unflatten(3, (columns, size)).unflatten(2, (rows, size))
        x[..., :inner].unflatten(-1, (colours, size, size)).copy_(parts.permute(0, 2, 4, 1, 3, 5))
        x[..., inner:] = 0.0
        return self.product(x.flatten(1, 2))


class FrozenVisionTransformer(VisionTransformer):
    """A `VisionTransformer` in one dtype, without gradients; autocast does not change it.

    Args:
        network: the network to copy; it is not changed.
        dtype: dtype of weights and activations.
        linear: class of the blocks' linear layers.
    """

    dtype: torch.dtype
    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(
        self, network: VisionTransformer, dtype: torch.dtype, linear: FrozenLayer = FrozenLinear
    ) -> None:
        nn.Module.__init__(self)
        config = network.config
        self.config, self.dtype = config, dtype
        self.patch_embed = FrozenPatches(network.patch_embed, dtype)
        rotated = config.position == "rope"
        self.blocks = nn.ModuleList(
            FrozenBlock(cast(Block, block), dtype, rotated=rotated, linear=linear) for block in network.blocks
        )
        for name in ("cls_token", "register_tokens", "pos_embed"):
            tensor = getattr(network, name, None)
            self.register_buffer(
                name, None if tensor is None else tensor.detach().float().clone(), persistent=False
            )
        self.register_buffer("norm_weight", network.norm.weight.detach().float().clone(), persistent=False)
        self.register_buffer("norm_bias", network.norm.bias.detach().float().clone(), persistent=False)
        self._places: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor | None]] = {}

    def _apply(self, fn: Any, *args: Any, **options: Any) -> "FrozenVisionTransformer":
        if any(fn(torch.empty(0, dtype=kept)).dtype != kept for kept in (self.dtype, torch.float32)):
            raise ConfigError(
                f"a folded network in {str(self.dtype).removeprefix('torch.')} keeps its dtypes: convert the network "
                "it was made of, or load the encoder with another precision"
            )
        self._places.clear()
        return super()._apply(fn, *args, **options)

    def _place(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor | None]:
        """For a grid: prefix tokens (1, prefix, channel), position embeddings (1, patch, channel), and rotations."""
        if (known := self._places.get(grid)) is not None:  # another thread may clear them
            return known
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
            rope = rotations(tables, self.dtype)
        if len(self._places) >= 32:
            self._places.clear()
        self._places[grid] = place = (torch.cat((cls, registers), dim=1), position, rope)
        return place

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Any]:
        """Contiguous token sequence before the first block, its grid, and the rotations (None without RoPE).

        The sequence is (batch, token, channel); with RoPE it is (token, batch, channel).
        """
        grid = self.grid_of(images)
        prefix, position, rope = self._place(grid)
        patches = self.patch_embed(images)
        if rope is not None:
            prefix, position, patches = (part.transpose(0, 1) for part in (prefix, position, patches))
        axis = 1 if rope is None else 0  # axis of tokens
        size, first = list(patches.shape), prefix.shape[axis]
        size[axis] += first
        x = patches.new_empty(size)
        x.narrow(axis, 0, first).copy_(prefix)
        # Summed in fp32, rounded once.
        torch.add(patches, position, out=x.narrow(axis, first, size[axis] - first))
        return x, grid, rope

    def as_tokens(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a sequence in the layout of `embed` into fp32 `Tokens`; applies the final norm if `norm`."""
        if self.config.position == "rope":
            x = x.transpose(0, 1)
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        return self.split(self.norm(x) if norm else x, grid, norm)

    def norm(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """The final norm of fp32 tokens (…, channel)."""
        return layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, self.config.norm_eps)

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
