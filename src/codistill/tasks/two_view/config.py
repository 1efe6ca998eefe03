"""Config of a fit of a two-view head, saved with it, and recipes.

`published` follows MASt3R's fine-tuning on top of DUNE's frozen encoder: 64 symmetrized pairs per step, AdamW with
decay 0.05, 1e-4 falling as a cosine to 1e-6, warm-up in 8 of 50 epochs of 700 000 pairs, 8192 correspondences. What the
publications do not state (sizes, and whether the schedule was shortened for DUNE) is set by the defaults of this file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError, check_least
from codistill.files.idle import Idle
from codistill.heads.two_view.losses import TwoViewLossConfig
from codistill.heads.two_view.network import TwoViewShape
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.trained_fit import TrainedFit
from codistill.tasks.two_view.views import PairViews

SIZE = (224, 224)
"""Size of the views if nothing else defines it."""


@dataclass(frozen=True, kw_only=True)
class TwoViewFit(TrainedFit):
    """How a two-view head is fitted; see `TrainedFit`.

    Attributes:
        features: the encoder's last tokens, before its final norm unless the head has no norm of its own.
        size: rows and columns of the views, multiples of the encoder's patch size; None: `shapes`, else the size of the
            data's own images (a world's), else 224x224.
        shapes: sizes from which every step draws one, in landscape or portrait, if no `size` is given. Not for cached
            views.
        shape: shape of the head.
        loss: weights and modes of the loss.
        batch_size: pairs per step, counted before they are symmetrized.
        symmetrize: train on (b, a) as well as (a, b).
        matches: correspondences per pair, at least half of them false.
        views: for cached tokens: views of each pair; the first has no randomness, the others are random.
        zoom: smallest random crop, as a share of the largest crop that fits.
        jitter: largest random change of colours; see `PairViews`.
        init: a released file or a fitted head to start from; gives the sizes, the decoder, and all other tensors that
            fit.
    """

    features: FeatureConfig = field(default_factory=lambda: FeatureConfig(norm=False))
    size: tuple[int, int] | None = None
    shapes: tuple[tuple[int, int], ...] = ()
    shape: TwoViewShape = field(default_factory=TwoViewShape)
    loss: TwoViewLossConfig = field(default_factory=TwoViewLossConfig)
    symmetrize: bool = True
    matches: int = 1024
    views: int = 3
    zoom: float = 0.8
    jitter: float = 0.5
    init: str | None = None

    fresh = "--no-cached"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "matches", "views")
        check_features(self.features)
        if self.features.norm is self.shape.fresh_norm:
            raise ConfigError(
                "a head with its own norm (shape.fresh_norm) takes tokens without the encoder's (--no-norm), one "
                f"without takes them with it (--norm); got shape.fresh_norm {self.shape.fresh_norm} and norm "
                f"{self.features.norm}"
            )
        if self.cached and self.shapes and self.size is None:
            raise ConfigError("cached views have one size: shapes must be empty, or cached off (--no-cached)")
        self.pair_views(SIZE)
        if self.loss.matching_weight and not self.shape.descriptor_dim:
            raise ConfigError(
                "a matching loss needs descriptors: descriptor_dim above 0, or matching_weight 0"
            )

    def idle(self) -> Iterator[Idle]:
        yield from super().idle()
        if not self.cached:
            yield "views", "every step draws fresh views (--no-cached)"
        if not self.loss.matching_weight:
            yield "matches", "the matching loss is off (loss.matching_weight is 0)"

    def pair_views(self, own: tuple[int, int] | None) -> PairViews:
        """Maker of training views: of `size`, else `shapes`, else the data's own size, else `SIZE`."""
        shapes = self.shapes if self.size is None else ()
        size = self.size or (shapes[0] if shapes else own or SIZE)
        return PairViews(size=size, zoom=self.zoom, jitter=self.jitter, shapes=shapes)


def check_features(features: FeatureConfig) -> None:
    """Refuse features that no two-view head can take.

    Raises:
        ConfigError: if there are such options; the message names them.
    """
    if features.projector is not None or features.denormalize or features.blocks != (-1,):
        raise ConfigError(
            "a two-view head stands on the last tokens of an encoder itself: leave out --projector, --denormalize and "
            "--blocks"
        )


SMALL = TwoViewFit(
    shape=TwoViewShape(
        dim=192,
        depth=4,
        num_heads=6,
        level_dims=(24, 48, 96, 96),
        fusion_dim=32,
        middle_dim=16,
        last_dim=16,
        descriptor_dim=16,
        local_hidden=256,
    ),
    optim=OptimConfig(
        lr=1e-3,
        reference_batch=None,
        min_lr=1e-6,
        warmup_fraction=0.05,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        clip="global",
    ),
    batch_size=8,
    matches=512,
)

RECIPES = {
    # For one CPU and the embedded world: a decoder of 4 layers on cached tokens; takes minutes instead of days.
    "small": SMALL,
    # Makes a teacher for the embedded world, HEAD/encoder: encoder and head train together on fresh views.
    "stereo-tiny": replace(
        SMALL,
        optim=replace(SMALL.optim, lr=6e-4),
        steps=6000,
        cached=False,
        unfreeze=True,
        encoder_lr_scale=0.2,
        precision="fast",
    ),
    # MASt3R's training, for an encoder of patch size 14, which is frozen as in DUNE or trained (unfreeze) as in MASt3R.
    "published": TwoViewFit(
        shapes=((392, 518), (336, 518), (294, 518), (252, 518), (168, 518)),
        optim=OptimConfig(
            lr=1e-4,
            reference_batch=None,
            min_lr=1e-6,
            warmup_fraction=8 / 50,
            betas=(0.9, 0.95),
            eps=1e-8,
            weight_decay=0.05,
            clip="none",
        ),
        steps=50 * 700_000 // 64,
        batch_size=64,
        matches=8192,
        cached=False,
    ),
}
