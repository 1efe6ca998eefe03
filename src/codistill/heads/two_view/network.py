"""The two-view network without its encoder: from `Tokens` of both views to a `ViewPrediction` per view.

Two decoder branches attend to each other layer by layer, each to the other's *previous* layer; each has its own heads.
All points are in the first camera's frame. Tokens come from any encoder: from MASt3R's own with its final norm, or from
any other without it, through a new LayerNorm (eps 1e-5, as in DUNE-MASt3R). Views may have different shapes.

Source: MASt3R (arXiv 2406.09756), section 3; DUNE (arXiv 2503.14405), section 4.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from codistill.errors import ConfigError, check_least
from codistill.heads.two_view.at_pixels import at_pixels, values_at
from codistill.heads.two_view.postprocess import ConfidenceMode, raw_to_descriptors, raw_to_points
from codistill.nn.blocks import NORM_EPS, DecoderBlock, Mlp, init_transformer_weights
from codistill.nn.dpt import DptConfig, DptHead
from codistill.nn.precision import full_precision
from codistill.nn.rope import cached_grid_tables
from codistill.types import Tokens


@dataclass(frozen=True, kw_only=True)
class TwoViewShape:
    """Architecture of a `TwoViewHead`, except what its encoder defines.

    Attributes:
        fresh_norm: take un-normed tokens through a new LayerNorm (any encoder but MASt3R's own); False takes tokens
            with the encoder's final norm applied.
        dim, depth, num_heads: width, depth and attention heads of the decoder.
        hidden: feed-forward width of the decoder; None: 4 * dim.
        rope_base: base of the rotary position embedding.
        level_dims, fusion_dim, middle_dim, last_dim: widths of the DPT heads.
        descriptor_dim: channels of the local descriptors; 0 for none (DUSt3R).
        local_hidden: hidden width of the descriptor head; None: 4 * (encoder_dim + dim).
        own_descriptor_confidence: descriptors have their own confidence instead of that of the points.
        confidence, descriptor_confidence: how raw channels are decoded.
    """

    fresh_norm: bool = True
    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    hidden: int | None = None
    rope_base: float = 100.0
    level_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    fusion_dim: int = 256
    middle_dim: int = 128
    last_dim: int = 128
    descriptor_dim: int = 24
    local_hidden: int | None = None
    own_descriptor_confidence: bool = True
    confidence: ConfidenceMode = field(default_factory=ConfidenceMode)
    descriptor_confidence: ConfidenceMode = field(default_factory=lambda: ConfidenceMode(low=0.0))

    def __post_init__(self) -> None:
        for name in ("dim", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.dim % (4 * self.num_heads):
            raise ConfigError(
                f"decoder dim {self.dim} over {self.num_heads} heads is not a multiple of 4 per head, which 2-D "
                "rotary positions need"
            )
        check_least(self, "descriptor_dim", least=0)

    def on(self, encoder_dim: int, patch_size: int) -> "TwoViewConfig":
        """The same architecture for a given encoder."""
        return TwoViewConfig(**vars(self), encoder_dim=encoder_dim, patch_size=patch_size)


@dataclass(frozen=True, kw_only=True)
class TwoViewConfig(TwoViewShape):
    """Architecture of a `TwoViewHead`; see `TwoViewShape`.

    Attributes:
        encoder_dim, patch_size: token width and patch size of the encoder.
    """

    encoder_dim: int
    patch_size: int

    @property
    def dpt(self) -> DptConfig:
        """Architecture of the DPT heads, which read the encoder's tokens and decoder layers at 1/2, 3/4 and the end."""
        dims = [self.encoder_dim if layer == 0 else self.dim for layer in self.dense_layers]
        return DptConfig(
            token_dims=(dims[0], dims[1], dims[2], dims[3]),
            patch_size=self.patch_size,
            level_dims=self.level_dims,
            fusion_dim=self.fusion_dim,
            middle_dim=self.middle_dim,
            last_dim=self.last_dim,
        )

    @property
    def dense_layers(self) -> tuple[int, int, int, int]:
        """Which of [encoder tokens, layer 1, …, layer depth] the DPT heads read."""
        return 0, self.depth // 2, 3 * self.depth // 4, self.depth


@dataclass(frozen=True)
class ViewPrediction:
    """Predictions for one view, one value per pixel, fp32.

    Attributes:
        points: (batch, row, column, 3), in the first camera's frame; metres if the training was metric.
        confidence: (batch, row, column), confidence of the points.
        descriptors: (batch, row, column, channel) of unit length, or None without a descriptor head. (batch, match,
            channel) if computed at chosen pixels only.
        descriptor_confidence: (batch, row, column), or None. (batch, match) if computed at chosen pixels only.
    """

    points: Float[Tensor, "batch row column 3"]
    confidence: Float[Tensor, "batch row column"]
    descriptors: Float[Tensor, "*places channel"] | None = None
    descriptor_confidence: Float[Tensor, "*places"] | None = None


class ViewHead(nn.Module):
    """The heads of one view: DPT for points and confidence, a pixel-shuffled MLP for descriptors."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        self.config = config
        self.dense = DptHead(config.dpt)
        if config.descriptor_dim:
            channels = config.descriptor_dim + config.own_descriptor_confidence
            width = config.encoder_dim + config.dim
            hidden = 4 * width if config.local_hidden is None else config.local_hidden
            self.local = Mlp(width, hidden, channels * config.patch_size**2)

    def forward(
        self, layers: list[Tensor], grid: tuple[int, int], pixels: Tensor | None = None
    ) -> ViewPrediction:
        """Predictions from [encoder tokens, layer 1, …, layer depth], each (batch, patch, channel).

        Always in fp32, since points are exponentials of the convolutions' outputs. Descriptors are computed at all
        pixels, or at given `pixels` (batch, match, 2).
        """
        config = self.config
        with full_precision(layers[0]):
            chosen = [layers[i].float() for i in config.dense_layers]
            raw = self.dense(chosen, grid).movedim(1, -1)  # (batch, row, column, 4)
            points, confidence = raw_to_points(raw[..., :3]), config.confidence(raw[..., 3])
            if not config.descriptor_dim:
                return ViewPrediction(points, confidence)
            hidden = self.local.hidden(torch.cat((chosen[0], chosen[-1]), dim=-1))
            if pixels is None:
                local = self.local.fc2(hidden).transpose(1, 2).unflatten(2, grid)
                # (batch, channel x area, row, column) of the token grid to (batch, row, column, channel) of pixels.
                local = pixel_shuffle(local, config.patch_size).movedim(1, -1)
            else:
                local = values_at(hidden, self.local.fc2, pixels, grid[1], config.patch_size)
            descriptors = raw_to_descriptors(local[..., : config.descriptor_dim])
            if config.own_descriptor_confidence:
                own = config.descriptor_confidence(local[..., config.descriptor_dim])
            else:
                own = confidence if pixels is None else at_pixels(confidence[..., None], pixels)[..., 0]
            return ViewPrediction(points, confidence, descriptors, own)


class TwoViewHead(nn.Module):
    """Decoder and heads; see the module's text."""

    def __init__(self, config: TwoViewConfig) -> None:
        super().__init__()
        self.config = config
        hidden = 4 * config.dim if config.hidden is None else config.hidden
        if config.fresh_norm:
            self.norm = nn.LayerNorm(config.encoder_dim)
        self.embed = nn.Linear(config.encoder_dim, config.dim)
        self.blocks1 = nn.ModuleList(
            DecoderBlock(config.dim, config.num_heads, hidden) for _ in range(config.depth)
        )
        self.blocks2 = nn.ModuleList(
            DecoderBlock(config.dim, config.num_heads, hidden) for _ in range(config.depth)
        )
        self.decoder_norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        for part in (self.embed, self.blocks1, self.blocks2):
            init_transformer_weights(part)
        self.heads = nn.ModuleList(ViewHead(config) for _ in range(2))

    def forward(
        self, view1: Tokens, view2: Tokens, pixels: tuple[Tensor, Tensor] | None = None
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """Predictions for both views, all points in the first camera's frame.

        Args:
            view1, view2: tokens of the same number of images; the two grids may differ.
            pixels: integer (x, y) of each view, (batch, match, 2), at which descriptors are computed; None: at all
                pixels.

        Raises:
            ValueError: if the tokens are normed where un-normed ones are needed or the other way round, or do not fit
                in width or number.
        """
        self._check(view1, view2)
        layers1, layers2 = self.decode(view1, view2)
        at1, at2 = (None, None) if pixels is None else pixels
        return self.heads[0](layers1, view1.grid, at1), self.heads[1](layers2, view2.grid, at2)

    def decode(self, view1: Tokens, view2: Tokens) -> tuple[list[Tensor], list[Tensor]]:
        """Per view: [encoder tokens, layer 1, …, layer depth]; the last one is normed."""
        config = self.config
        head_dim = config.dim // config.num_heads
        x1, x2 = view1.patches, view2.patches
        rope1, rope2 = (
            cached_grid_tables(*view.grid, head_dim, config.rope_base, view.patches.device)
            for view in (view1, view2)
        )
        if config.fresh_norm:
            x1, x2 = self.norm(x1), self.norm(x2)
        layers1, layers2 = [x1], [x2]  # (batch, patch, encoder_dim)
        x1, x2 = self.embed(x1), self.embed(x2)  # (batch, patch, dim)
        for block1, block2 in zip(self.blocks1, self.blocks2, strict=True):
            # In one assignment, so that each branch attends to the other's previous layer.
            x1, x2 = block1(x1, x2, rope1, rope2), block2(x2, x1, rope2, rope1)
            layers1.append(x1)  # each (batch, patch, dim)
            layers2.append(x2)
        layers1[-1], layers2[-1] = self.decoder_norm(x1), self.decoder_norm(x2)
        return layers1, layers2

    def _check(self, *views: Tokens) -> None:
        wanted = not self.config.fresh_norm
        for number, view in enumerate(views, start=1):
            if view.normed != wanted:
                raise ValueError(
                    f"view {number}: this decoder takes {'normed' if wanted else 'un-normed'} tokens and got "
                    f"{'normed' if view.normed else 'un-normed'} ones. Call encoder(images, norm={wanted})."
                )
            if view.patches.shape[-1] != self.config.encoder_dim:
                raise ValueError(
                    f"view {number}: this decoder sits on an encoder of {self.config.encoder_dim} channels; the "
                    f"tokens have {view.patches.shape[-1]}"
                )
        if views[0].patches.shape[0] != views[1].patches.shape[0]:
            raise ValueError(
                f"both views need as many images each; got {views[0].patches.shape[0]} and "
                f"{views[1].patches.shape[0]}"
            )


def both_orders(first: Tokens, second: Tokens) -> tuple[Tokens, Tokens]:
    """First and second views of the pairs (a, b), followed by those of (b, a); all tokens have one grid."""
    return _joined(first, second), _joined(second, first)


def _joined(first: Tokens, second: Tokens) -> Tokens:
    return Tokens(torch.cat((first.patches, second.patches)), first.grid, normed=first.normed)
