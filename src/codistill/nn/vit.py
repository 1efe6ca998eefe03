"""The vision transformer of the DINOv2 family, also used for MASt3R's encoder: images in, `Tokens` out.

Names and numbers follow the DINOv2 files, so that their keys load unchanged (with the chunk index removed).
Token order is [cls, registers, patches]; registers are inserted after the positional embedding was added and get
none. Without a positional embedding, queries and keys are rotated by 2-D RoPE instead (CroCo, MASt3R).
Source: DINOv2 (arXiv 2304.07193), registers (arXiv 2309.16588).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.nn.blocks import ACTIVATIONS, NORM_EPS, Block, init_transformer_weights
from codistill.nn.position import resize_position_embedding
from codistill.nn.rope import RopeTables, cached_grid_tables
from codistill.types import Tokens


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Architecture of a `VisionTransformer`.

    Attributes:
        dim, depth, num_heads: width, blocks, heads.
        patch_size: pixels per patch side.
        image_size: native square size in pixels: the grid of the learned positional embedding.
        num_registers: register tokens.
        has_cls: class token.
        has_mask_token: keep the (unused) mask token of DINOv2-family files, so that they load and save whole.
        layer_scale: initial LayerScale value; None for none.
        feed_forward, hidden: `gelu` or `swiglu`, and its hidden width (None: 4 * dim).
        position: `learned` or `rope` (2-D, `rope_base`).
        position_offset, position_antialias: how a learned embedding is resized, see `nn/position.py`.
        drop_path: stochastic-depth rate of the last block, growing linearly from 0.
        activation: of the `gelu` feed-forward part: `gelu` (exact), `gelu_tanh` or `quick_gelu`.
        norm_eps: of every LayerNorm.
    """

    dim: int
    depth: int
    num_heads: int
    patch_size: int = 14
    image_size: int = 336
    num_registers: int = 0
    has_cls: bool = True
    has_mask_token: bool = True
    layer_scale: float | None = 1e-4
    feed_forward: Literal["gelu", "swiglu"] = "gelu"
    hidden: int | None = None
    position: Literal["learned", "rope"] = "learned"
    rope_base: float = 100.0
    position_offset: float = 0.1
    position_antialias: bool = False
    drop_path: float = 0.0
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    norm_eps: float = NORM_EPS

    def __post_init__(self) -> None:
        check_least(self, "dim", "depth", "num_heads", "patch_size", "image_size")
        if self.dim % self.num_heads:
            raise ConfigError(f"dim {self.dim} is not divisible by num_heads {self.num_heads}")
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}; nearest: "
                f"{max(1, round(self.image_size / self.patch_size)) * self.patch_size}"
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ConfigError(f"drop_path must be in [0, 1); got {self.drop_path}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(unknown_name("activation", self.activation, ACTIVATIONS))
        if not 0.0 < self.norm_eps < 1.0:
            raise ConfigError(f"norm_eps must be in (0, 1); got {self.norm_eps}")

    @property
    def hidden_size(self) -> int:
        return 4 * self.dim if self.hidden is None else self.hidden

    @property
    def num_prefix(self) -> int:
        """Tokens before the registers: 1 with a class token, else 0."""
        return 1 if self.has_cls else 0


VIT_SIZES: dict[str, dict[str, int | str]] = {
    "vit_tiny": {"dim": 192, "depth": 12, "num_heads": 3},
    "vit_small": {"dim": 384, "depth": 12, "num_heads": 6},
    "vit_base": {"dim": 768, "depth": 12, "num_heads": 12},
    "vit_large": {"dim": 1024, "depth": 24, "num_heads": 16},
    "vit_giant": {"dim": 1536, "depth": 40, "num_heads": 24, "feed_forward": "swiglu", "hidden": 4096},
}


def vit_config(size: str, **overrides: object) -> ViTConfig:
    """The `ViTConfig` of a named size (`vit_tiny` … `vit_giant`), with some fields replaced.

    Raises:
        ConfigError: for an unknown size.
    """
    if size not in VIT_SIZES:
        raise ConfigError(unknown_name("ViT size", size, VIT_SIZES))
    return ViTConfig(**{**VIT_SIZES[size], **overrides})  # type: ignore[arg-type]


class PatchEmbedding(nn.Module):
    """A convolution with kernel = stride = patch size."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, row, column) pixels to (batch, patch, channel)."""
        return self.proj(images).flatten(2).transpose(1, 2)  # row-major over the grid


class VisionTransformer(nn.Module):
    """The network of a `ViTConfig`. Image sides must be multiples of the patch size."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        side = config.image_size // config.patch_size
        self.patch_embed = PatchEmbedding(config.patch_size, dim)
        if config.has_cls:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        if config.position == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, config.num_prefix + side * side, dim))
        if config.num_registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, config.num_registers, dim))
        if config.has_mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, dim))
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()  # grows with depth
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                config.hidden_size,
                config.feed_forward,
                config.layer_scale,
                rate,
                activation=config.activation,
                norm_eps=config.norm_eps,
            )
            for rate in rates
        )
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """DINOv2's initialization; nothing on the meta device, where random numbers would import torch's compiler."""
        if self.norm.weight.is_meta:
            return
        init_transformer_weights(self)
        if self.config.position == "learned":
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.config.has_cls:
            nn.init.normal_(self.cls_token, std=1e-6)
        if self.config.num_registers:
            nn.init.normal_(self.register_tokens, std=1e-6)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the patch grid of images (batch, 3, row, column).

        Raises:
            ValueError: if a side is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]  # rows, columns
        patch = self.config.patch_size
        if height % patch or width % patch:
            raise ValueError(
                f"image sides must be multiples of the patch size {patch}; got {height}x{width}. "
                f"Use encoder.preprocess, or resize to {max(1, round(height / patch)) * patch}x"
                f"{max(1, round(width / patch)) * patch}."
            )
        return height // patch, width // patch

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int], RopeTables | None]:
        """Token sequence before the first block, its grid, and RoPE tables where they are used."""
        config = self.config
        grid = self.grid_of(images)
        x = self.patch_embed(images)  # (batch, patch, channel)
        rope = None
        if config.has_cls:
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x), dim=1)
        if config.position == "learned":
            position = resize_position_embedding(
                self.pos_embed,
                grid,
                num_prefix=config.num_prefix,
                offset=config.position_offset,
                antialias=config.position_antialias,
            )
            x = x + position.to(x.dtype)
        else:
            head_dim = config.dim // config.num_heads
            unrotated = config.num_prefix + config.num_registers  # these have no place in the image
            rope = cached_grid_tables(*grid, head_dim, config.rope_base, x.device, unrotated)
        if config.num_registers:
            registers = self.register_tokens.expand(x.shape[0], -1, -1).to(x.dtype)
            split = config.num_prefix
            x = torch.cat((x[:, :split], registers, x[:, split:]), dim=1)  # [cls, registers, patches]
        return x, grid, rope

    def as_tokens(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a token sequence into `Tokens`, the final norm applied if `norm`."""
        return self.split(self.norm(x) if norm else x, grid, norm)

    def split(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a token sequence, to which the final norm was applied if `norm`, into `Tokens`."""
        first, last = self.config.num_prefix, self.config.num_prefix + self.config.num_registers
        return Tokens(
            patches=x[:, last:],
            grid=grid,
            cls=x[:, 0] if self.config.has_cls else None,
            registers=x[:, first:last] if self.config.num_registers else None,
            normed=norm,
        )

    def encode(self, images: Float[Tensor, "batch 3 row column"], norm: bool = True) -> Tokens:
        """Tokens after the last block.

        Args:
            images: (batch, 3, row, column) in the network's own normalization.
            norm: apply the final LayerNorm.
        """
        x, grid, rope = self.embed(images)
        for block in self.blocks:
            x = block(x, rope)
        return self.as_tokens(x, grid, norm)

    def encode_blocks(
        self, images: Float[Tensor, "batch 3 row column"], blocks: Sequence[int], norm: bool = True
    ) -> list[Tokens]:
        """Tokens after chosen blocks (0-based; negative ones count from the end), in the order given.

        Raises:
            ValueError: for a block that the network does not have.
        """
        depth = self.config.depth
        wanted = [block + depth if block < 0 else block for block in blocks]  # 0-based
        wrong = [given for given, block in zip(blocks, wanted, strict=True) if not 0 <= block < depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: the encoder has {depth} (0 to {depth - 1})")
        x, grid, rope = self.embed(images)
        found: dict[int, Tokens] = {}
        for index, block in enumerate(self.blocks[: max(wanted, default=-1) + 1]):
            x = block(x, rope)
            if index in wanted:
                found[index] = self.as_tokens(x, grid, norm)
        return [found[block] for block in wanted]

    def attention_map(self, images: Tensor, block: int = -1) -> Tensor:
        """Attention weights (batch, head, query token, key token) of one block, all tokens in sequence order."""
        x, _, rope = self.embed(images)
        index = range(self.config.depth)[block]
        for part in self.blocks[:index]:
            x = part(x, rope)
        last: Block = self.blocks[index]  # type: ignore[assignment]
        return last.attention_map(x, rope)

    def forward(self, images: Tensor, norm: bool = True) -> Tokens:
        return self.encode(images, norm)
