"""The vision transformer of the DINOv2 family, also used for MASt3R's encoder: images in, `Tokens` out.

Parameter names and numerics follow DINOv2's files, so that their keys load unchanged (with the chunk index removed).
The token order is [cls, registers, patches]. Registers are inserted after the position embedding is added, and have
none themselves. Without a position embedding, queries and keys are rotated by 2-D RoPE instead (CroCo, MASt3R).
Source: DINOv2 (arXiv 2304.07193), registers (arXiv 2309.16588).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.nn.blocks import Block, init_transformer_weights
from codistill.nn.position import resize_position_embedding
from codistill.nn.rope import RopeTables, cached_grid_tables
from codistill.nn.tracing import is_symbolic, is_tracing
from codistill.nn.vit_config import VIT_SIZES, ViTConfig, vit_config
from codistill.nn.windows import global_blocks, in_windows
from codistill.types import Tokens

__all__ = ["VIT_SIZES", "PatchEmbedding", "ViTConfig", "VisionTransformer", "vit_config"]


class PatchEmbedding(nn.Module):
    """A convolution with kernel = stride = patch size."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (batch, 3, row, column) to tokens (batch, patch, channel)."""
        return self.proj(images).flatten(2).transpose(1, 2)  # row-major over the grid


class VisionTransformer(nn.Module):
    """The vision transformer of a `ViTConfig`. Image sides must be multiples of the patch size."""

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
        """Initialize as DINOv2; skipped on the meta device, where random numbers would import torch's compiler."""
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
        if is_tracing():  # sizes are tensors here; a traced graph serves one size
            height, width = int(height), int(width)
        patch = self.config.patch_size
        if height % patch or width % patch:
            raise ValueError(
                f"image sides must be multiples of the patch size {patch}; got {height}x{width}. "
                f"Use encoder.preprocess, or resize to {max(1, round(height / patch)) * patch}x"
                f"{max(1, round(width / patch)) * patch}."
            )
        return height // patch, width // patch

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int], RopeTables | None]:
        """Token sequence (batch, token, channel) before the first block, its grid, and RoPE tables (None if unused)."""
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
            unrotated = config.num_prefix + config.num_registers  # class token and registers have no position
            rope = cached_grid_tables(*grid, head_dim, config.rope_base, x.device, unrotated)
        if config.num_registers:
            registers = self.register_tokens.expand(x.shape[0], -1, -1).to(x.dtype)
            split = config.num_prefix
            x = torch.cat((x[:, :split], registers, x[:, split:]), dim=1)  # [cls, registers, patches]
        return x, grid, rope

    def run_block(self, index: int, x: Tensor, grid: tuple[int, int], rope: RopeTables | None) -> Tensor:
        """Output of a block, (batch, token, channel); a windowed block runs window by window.

        Raises:
            ConfigError: for windows on a symbolic grid (an exported program), or with the RoPE of the folded fast path.
        """
        config, block = self.config, self.blocks[index]
        side = config.window
        if not side or index in global_blocks(config.depth, config.num_global):
            return block(x, rope)
        if is_symbolic(*grid):
            raise ConfigError(
                "windowed attention cannot be exported with an open image size: fix it, or export without window"
            )
        if max(grid) <= side:
            return block(x, rope)
        if rope is not None and rope[0].ndim != 2:  # rotations of the folded path, which have another layout
            raise ConfigError(
                "windowed attention under RoPE has no folded form: load it with precision=exact"
            )

        def rope_of(shape: tuple[int, int]) -> RopeTables | None:
            head_dim = config.dim // config.num_heads
            return (
                None if rope is None else cached_grid_tables(*shape, head_dim, config.rope_base, x.device, 0)
            )

        return in_windows(block, x, grid, side, rope_of)

    def as_tokens(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a token sequence into `Tokens`; applies the final norm if `norm`."""
        return self.split(self.norm(x) if norm else x, grid, norm)

    def split(self, x: Tensor, grid: tuple[int, int], norm: bool) -> Tokens:
        """Split a token sequence into `Tokens`; `norm` says whether the final norm was already applied."""
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
        for index in range(self.config.depth):
            x = self.run_block(index, x, grid, rope)
        return self.as_tokens(x, grid, norm)

    def encode_blocks(
        self, images: Float[Tensor, "batch 3 row column"], blocks: Sequence[int], norm: bool = True
    ) -> list[Tokens]:
        """Tokens after chosen blocks (0-based; negative ones count from the end), in the order given.

        Raises:
            ConfigError: for a block that the network does not have.
        """
        wanted = self._from_the_start(blocks)
        x, grid, rope = self.embed(images)
        found: dict[int, Tokens] = {}
        for index in range(max(wanted, default=-1) + 1):
            x = self.run_block(index, x, grid, rope)
            if index in wanted:
                found[index] = self.as_tokens(x, grid, norm)
        return [found[block] for block in wanted]

    def attention_map(self, images: Tensor, block: int = -1) -> Tensor:
        """Attention weights (batch, head, query token, key token) of one block, all tokens in sequence order.

        Raises:
            ConfigError: for a block that the network does not have, or a windowed one, where not every token attends to
                every other.
        """
        config, (index,) = self.config, self._from_the_start([block])
        x, grid, rope = self.embed(images)
        whole = global_blocks(config.depth, config.num_global)
        if config.window and max(grid) > config.window and index not in whole:
            raise ConfigError(
                f"block {index} attends within windows; blocks that see the whole image: {sorted(whole)}"
            )
        for before in range(index):
            x = self.run_block(before, x, grid, rope)
        last: Block = self.blocks[index]  # type: ignore[assignment]
        return last.attention_map(x, rope)

    def _from_the_start(self, blocks: Sequence[int]) -> list[int]:
        """Blocks counted from 0; negative ones are given from the end."""
        depth = self.config.depth
        wrong = [block for block in blocks if not -depth <= block < depth]
        if wrong:
            raise ConfigError(f"blocks {wrong} do not exist: the encoder has {depth} (0 to {depth - 1})")
        return [block % depth for block in blocks]

    def forward(self, images: Tensor, norm: bool = True) -> Tokens:
        return self.encode(images, norm)
