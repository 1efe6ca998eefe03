"""How a two-view head is fitted: the saved config, and two recipes of it, `small` and `published`.

`published` follows MASt3R's fine-tuning with DUNE's frozen encoder in front: 64 symmetrized pairs a step, AdamW with
decay 0.05, 1e-4 falling as a cosine to 1e-6, 8 of 50 epochs of 700 000 pairs warming up, 8192 correspondences. What
the publications do not say (sizes, and whether the schedule was shortened for DUNE) are defaults of this file.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError
from codistill.files.config import CHANGEABLE
from codistill.heads.two_view.losses import TwoViewLossConfig
from codistill.heads.two_view.network import TwoViewConfig
from codistill.tasks.shared.unfrozen import check_unfreezing


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """Sizes of a head that do not follow from the encoder; see `TwoViewConfig`."""

    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    level_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    fusion_dim: int = 256
    middle_dim: int = 128
    last_dim: int = 128
    descriptor_dim: int = 24
    local_hidden: int | None = None

    def on(self, dim: int, patch_size: int) -> TwoViewConfig:
        """The head's architecture on an encoder of `dim` channels."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "dim"}
        return TwoViewConfig(encoder_dim=dim, patch_size=patch_size, dim=self.dim, **fields)


@dataclass(frozen=True, kw_only=True)
class TwoViewFit:
    """How a two-view head is fitted.

    Attributes:
        data: `KIND:FOLDER` of the training pairs.
        encoder: whatever `load_encoder` accepts.
        recipe: the name of the recipe that this began with.
        size: rows and columns of the views, multiples of the encoder's patch size.
        shapes: sizes that steps draw from in place of `size`, each lying or upright; () keeps to `size`. Not for cached
            views.
        shape: of the head.
        loss, optim: see the classes; `optim` decays every tensor with two or more dimensions.
        steps: of the run.
        batch_size: pairs of a step, counted before they are symmetrized.
        accumulate: batches into which each rank cuts its share of a step.
        symmetrize: train on (b, a) beside (a, b).
        matches: correspondences of each pair, half of them or more false.
        cached: encode a few views of each pair once and train on these; otherwise every step encodes fresh ones.
        views: cached: views of each pair; the first is plain, the others are random.
        zoom, jitter: of random views, see `PairViews`.
        init: a released file or a fitted head; the head takes its sizes, its decoder, and what else fits.
        unfreeze: train the encoder as well; every step must encode fresh views then.
        encoder_lr_scale: its learning rate, relative to the head's.
        seed: of every draw.
        limit: use so many training pairs, evenly spread; None for all.
    """

    data: str
    encoder: str
    recipe: str = "small"
    size: tuple[int, int] = (224, 224)
    shapes: tuple[tuple[int, int], ...] = ()
    shape: HeadShape = field(default_factory=HeadShape)
    loss: TwoViewLossConfig = field(default_factory=TwoViewLossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    steps: int = 2000
    batch_size: int = 16
    accumulate: int = field(default=1, metadata=CHANGEABLE)
    symmetrize: bool = True
    matches: int = 1024
    cached: bool = True
    views: int = 3
    zoom: float = 0.8
    jitter: float = 0.5
    init: str | None = None
    unfreeze: bool = False
    encoder_lr_scale: float = 1.0
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "matches", "views"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if self.batch_size % self.accumulate:
            raise ConfigError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        if self.cached and self.shapes:
            raise ConfigError("cached views have one size: shapes must be empty, or cached off")
        check_unfreezing(
            self.unfreeze,
            self.encoder_lr_scale,
            stored=self.cached,
            instead="add --online, or take --recipe published",
        )
        if self.loss.matching_weight and not self.shape.descriptor_dim:
            raise ConfigError(
                "a matching loss needs descriptors: descriptor_dim above 0, or matching_weight 0"
            )


SMALL: dict[str, Any] = {
    "recipe": "small",
    "shape": HeadShape(
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
    "optim": OptimConfig(
        lr=1e-3,
        reference_batch=None,
        min_lr=1e-6,
        warmup_fraction=0.05,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        clip="global",
    ),
    "steps": 2000,
    "batch_size": 8,
    "matches": 512,
}
"""For one CPU and the embedded world: a decoder of 4 layers on cached tokens, minutes instead of days."""

PUBLISHED: dict[str, Any] = {
    "recipe": "published",
    "size": (392, 518),
    "shapes": ((392, 518), (336, 518), (294, 518), (252, 518), (168, 518)),
    "shape": HeadShape(),
    "optim": OptimConfig(
        lr=1e-4,
        reference_batch=None,
        min_lr=1e-6,
        warmup_fraction=8 / 50,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        clip="none",
    ),
    "steps": 50 * 700_000 // 64,
    "batch_size": 64,
    "matches": 8192,
    "cached": False,
    "zoom": 0.8,
    "jitter": 0.5,
}
"""MASt3R's training, for an encoder of patch size 14: frozen as in DUNE, or trained too (`unfreeze`) as in MASt3R."""

RECIPES: dict[str, dict[str, Any]] = {"small": SMALL, "published": PUBLISHED}


def two_view_fit(recipe: str, **changes: Any) -> TwoViewFit:
    """A recipe with some fields changed; None leaves the recipe's value. `lr` changes the optimizer's.

    A given size is the only one: the recipe's shapes go.
    """
    chosen = {name: value for name, value in changes.items() if value is not None}
    fields: dict[str, Any] = RECIPES[recipe] | {name: value for name, value in chosen.items() if name != "lr"}
    if "size" in chosen and "shapes" not in chosen:
        fields["shapes"] = ()
    if "lr" in chosen:
        fields["optim"] = replace(fields["optim"], lr=chosen["lr"])
    return TwoViewFit(**fields)
