"""Fit a linear depth head on frozen features, by the published protocol or on cached features.

Takes a config, writes a head folder. Source: DINOv2's linear depth on NYUd (batch 16, 38 400 steps, AdamW, decay 0.01,
warm-up over one third of the steps, cosine, gradient norm of 35 at most, SigLoss alone). DINOv2's learning rate is not
published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.engine.optim import OptimConfig
from codistill.errors import DataError
from codistill.files.idle import Idle
from codistill.heads.linear.batched import DepthHeads
from codistill.heads.linear.depth import UPSAMPLING, DepthHead, DepthHeadConfig, depth_input
from codistill.heads.linear.losses import gradient_loss, masked_mean, sig_loss
from codistill.heads.linear.released import released_tensors
from codistill.heads.linear.sampling import corners_of, features_at
from codistill.imaging.depth16 import LAST, MILLIMETRE
from codistill.tasks.dense.cached_task import CachedTask, Sampled, views_tally
from codistill.tasks.dense.config import HEAD_OPTIM, DenseFit
from codistill.tasks.dense.depth.data import RANGE_FILE, DepthData, known_share
from codistill.tasks.dense.depth.views import DepthViews
from codistill.tasks.dense.fit import DenseHead
from codistill.tasks.dense.targets import TargetKind
from codistill.tasks.shared.data import CHECKED, spread
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures

CACHED_RATES = (1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)

OPTIM = replace(
    HEAD_OPTIM,
    lr=1e-4,
    warmup_fraction=12_800 / 38_400,
    weight_decay=0.01,
    clip="global",
    clip_norm=35.0,
    schedule="ramped_cosine",
    ramp_start=1e-3,
)
_STARTING_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class DepthFit(DenseFit):
    """How a depth head is fitted; see `DenseFit`.

    Attributes:
        gradient_loss: weight of the (corrected) gradient loss; 0 as in the training of the published numbers. Published
            protocol only: sampled single pixels have no gradient.
        bins: number of the head's depth bins.
    """

    features: FeatureConfig = field(default_factory=lambda: FeatureConfig(norm=False))
    learning_rates: tuple[float, ...] = CACHED_RATES
    weight_decay: float = 0.01
    pixels: int = 32
    gradient_loss: float = 0.0
    bins: int = 256

    def idle(self) -> Iterator[Idle]:
        yield from super().idle()
        if self.protocol == "cached":
            yield "gradient_loss", "sampled single pixels have no gradient (take the recipe `published`)"


RECIPES = {"cached": DepthFit(), "published": DepthFit(protocol="published", learning_rates=(OPTIM.lr,))}


def starting_steps(steps: int) -> int:
    """Number of first steps whose loss has no variance term: 100, or the first tenth of a short fit."""
    return min(_STARTING_STEPS, max(1, steps // 10))


@dataclass(frozen=True)
class CachedDepth(CachedTask):
    """The cached protocol for depth; see `CachedTask`."""

    kind: ClassVar[TargetKind] = "metres"
    with_cls: ClassVar[bool] = True
    higher_is_better: ClassVar[bool] = False
    score_name: ClassVar[str] = "rmse"
    optim: ClassVar[OptimConfig] = OPTIM
    clip_norm: ClassVar[float | None] = OPTIM.clip_norm

    levels: int
    head: DepthHeadConfig
    starting: int

    @property
    def unit(self) -> float:
        """A millimetre, or more if 16 bits of millimetres do not cover the head's range."""
        return max(MILLIMETRE, self.head.farthest / LAST)

    def build(self, channels: int, count: int) -> DepthHeads:
        assert channels == self.head.channels
        return DepthHeads(self.head, count)

    def losses(self, heads: DepthHeads, sampled: Sampled, step: int) -> Tensor:
        """Losses (head,): SigLoss over the sampled pixels."""
        truth = sampled.truth.expand(heads.heads, -1, -1)
        return sig_loss(self._depth(heads, sampled), truth, starting=step < self.starting, dim=(1, 2))

    def tally(self, heads: DepthHeads, sampled: Sampled) -> np.ndarray:
        """Per head, sum of the views' RMSE, and number of views with known depth: (head, 2)."""
        known = sampled.truth > 0
        depth = self._depth(heads, sampled).clamp(self.head.nearest, self.head.farthest)
        errors = masked_mean((depth - sampled.truth).square(), known.expand_as(depth), dim=(2,)).sqrt()
        return views_tally(errors, known.any(1))

    def _depth(self, heads: DepthHeads, sampled: Sampled) -> Tensor:
        """Depth (head, view, pixel) in metres at the pixels.

        The head's map has four times the rows and columns of the token grid, and is resized to the target's size.
        """
        fine = (UPSAMPLING * sampled.grid[0], UPSAMPLING * sampled.grid[1])
        outer = corners_of(sampled.rows, sampled.columns, fine, sampled.target_size)
        cells = outer.cells.flatten(1)
        inner = corners_of(cells // fine[1], cells % fine[1], sampled.grid, fine)
        views, pixels, _ = outer.cells.shape
        depth = heads.in_views(features_at(sampled.tokens, inner), sampled.cls, self.levels)
        depth = depth.view(heads.heads, views, pixels, 4)
        return (depth * outer.weights).sum(-1)


def check_range(data: DepthData) -> None:
    """Check on `CHECKED` images that the known depth lies in the range that is learnt and scored.

    Raises:
        DataError: if less than 99 % of it does in a folder without depth.json, or none at all.
    """
    share, farthest = known_share(data.samples, data.protocol, spread(len(data.samples), CHECKED))
    limits = data.protocol
    own = data.spec.startswith("folder:")
    said = own and (Path(data.spec.partition(":")[2]).expanduser() / RANGE_FILE).is_file()
    if share == 0 or (share < 0.99 and own and not said):
        raise DataError(
            f"{data.spec} ({data.split}): {1 - share:.1%} of the known depth lies outside of {limits.nearest:g} to "
            f"{limits.farthest:g} m (the farthest: {farthest:.1f} m) and would be left out. Say the data's range in "
            f'{RANGE_FILE} beside images and depth: {{"farthest": {max(ceil(farthest), 1)}}}; or, if it is meant, '
            f'{{"farthest": {limits.farthest:g}}}.'
        )


def _shape(features: FrozenFeatures, data: DepthData, config: DepthFit) -> DepthHeadConfig:
    return DepthHeadConfig(
        channels=features.width(with_cls=True),
        bins=config.bins,
        nearest=data.protocol.nearest,
        farthest=data.protocol.farthest,
    )


def _loss(config: DepthFit, steps: int):
    starting = starting_steps(steps)

    def loss(depth: Tensor, truth: Tensor, step: int) -> Tensor:
        depth = interpolate(depth, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        value = sig_loss(depth, truth[:, None], starting=step < starting)
        if config.gradient_loss:
            value = value + config.gradient_loss * gradient_loss(depth, truth[:, None])
        return value

    return loss


HEAD = DenseHead(
    task="depth",
    optim=OPTIM,
    shape=_shape,
    build=DepthHead,
    cached=lambda shape, levels, steps, config: CachedDepth(levels, shape, starting_steps(steps)),
    input=depth_input,
    loss=_loss,
    views=DepthViews,
    tensors=released_tensors,
)
