"""The architecture of a `VisionTransformer`, and the published sizes by name."""

from dataclasses import dataclass
from typing import Literal

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.nn.blocks import ACTIVATIONS, NORM_EPS


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Architecture of a `VisionTransformer`.

    Attributes:
        dim, depth, num_heads: width, number of blocks, number of attention heads.
        patch_size: pixels per patch side.
        image_size: native square size in pixels, which gives the grid of the learned position embedding.
        num_registers: number of register tokens.
        has_cls: whether there is a class token.
        has_mask_token: keep the (unused) mask token of files of the DINOv2 family, so that they load and save complete.
        layer_scale: initial LayerScale value; None for none.
        feed_forward, hidden: `gelu` or `swiglu`, and its hidden width (None: 4 * dim).
        position: `learned` or `rope` (2-D, `rope_base`).
        position_offset, position_antialias: how a learned position embedding is resized, see `nn/position.py`.
        drop_path: stochastic-depth rate of the last block; the rate grows linearly from 0 at the first block.
        activation: activation of the `gelu` feed-forward part: `gelu` (exact), `gelu_tanh` or `quick_gelu`.
        norm_eps: eps of every LayerNorm.
        window: tokens per side of attention windows, see `nn/windows.py`; 0: every block sees the whole image.
        num_global: with windows, the number of blocks that see the whole image; they are evenly spaced and include the
            last block.
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
    window: int = 0
    num_global: int = 4

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
        check_least(self, "window", "num_registers", least=0)
        check_least(self, "num_global")
        if self.window and self.num_global > self.depth:
            raise ConfigError(f"num_global {self.num_global} is more than the {self.depth} blocks there are")
        if self.window and self.position == "rope" and (self.has_cls or self.num_registers):
            raise ConfigError(
                "window needs learned positions here: under RoPE, windows would move class token and registers, which "
                "are not rotated, relative to the patches"
            )

    @property
    def hidden_size(self) -> int:
        return 4 * self.dim if self.hidden is None else self.hidden

    @property
    def num_prefix(self) -> int:
        """Number of tokens before the registers: 1 with a class token, else 0."""
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
