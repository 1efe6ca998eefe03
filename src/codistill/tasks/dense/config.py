"""Config of dense fits: the base class of the configs of segmentation, depth and normals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError, check_least
from codistill.files.idle import Idle, under
from codistill.tasks.shared.config import HeadFit

HEAD_OPTIM = OptimConfig(
    reference_batch=None, min_lr=0.0, betas=(0.9, 0.999), eps=1e-8, clip="none", decay="all"
)
"""What all protocols share: AdamW with PyTorch's betas, on all parameters, at exactly the given learning rate."""

FitProtocol = Literal["cached", "published"]


@dataclass(frozen=True, kw_only=True)
class DenseFit(HeadFit):
    """How a dense head (one value per pixel) is fitted.

    Attributes:
        protocol: `published`: one head, fresh views in every step; `cached`: several heads on features of a few views.
        steps: number of steps; None: the data set's own number; with `cached`, fewer on little data.
        batch_size: views per step.
        learning_rates: one per head; `published` takes exactly one.
        weight_decay: weight decay of AdamW, on every parameter.
        views: for `cached`: random views per image; None: 4, or 2 for more than 250 images.
        pixels: for `cached`: random pixels per view in each step.
        held_out: for `cached`: share of the training images held out to choose the head (8 at least, half at most).
        size: side of the training views, for data sets of square images; None for the data set's own.
    """

    protocol: FitProtocol = "cached"
    steps: int | None = None
    batch_size: int = 16
    learning_rates: tuple[float, ...] = (1e-3,)
    weight_decay: float = 1e-4
    views: int | None = None
    pixels: int = 256
    held_out: float = 0.05
    size: int | None = None

    def __post_init__(self) -> None:
        if self.protocol not in ("cached", "published"):
            raise ConfigError(f"protocol must be cached or published; got {self.protocol!r}")
        check_least(self, "batch_size", "views", "pixels", "steps")
        rates = self.learning_rates
        if not rates or not all(rate > 0 and math.isfinite(rate) for rate in rates):
            raise ConfigError(f"learning rates must be positive; got {rates}")
        if self.protocol == "published" and len(rates) != 1:
            raise ConfigError(
                f"the published protocol fits one head: give one (--learning-rates); got {len(rates)}. "
                "Several are fitted together by the recipe `cached`."
            )
        if not 0.0 < self.held_out < 1.0:
            raise ConfigError(f"held_out must lie between 0 and 1; got {self.held_out}")
        super().__post_init__()

    def idle(self) -> Iterator[Idle]:
        yield from super().idle()
        if self.protocol == "published":
            yield from under("", ("views", "pixels", "held_out"), "the published protocol draws fresh views")

    def idle_computing(self) -> Iterator[Idle]:
        yield "recompute", "no transformer block trains"
        if self.protocol == "published":
            yield "cache", "the published protocol keeps no features"
