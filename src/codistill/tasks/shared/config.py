"""What every fit of a head on frozen features is told: the saved config, and what may differ between two calls."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from codistill.errors import ConfigError
from codistill.files.config import CHANGEABLE
from codistill.tasks.shared.features import FeatureConfig

FitProtocol = Literal["cached", "published"]


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """How a head is fitted.

    Attributes:
        data: `KIND:FOLDER` of the training data.
        features: what the head stands on.
        protocol: `published`: one head, fresh views in every step; `cached`: several heads on features of a few views.
        steps: None for the data set's own number; cached: fewer on little data.
        batch_size: views of a step.
        learning_rates: one per head; `published` takes exactly one.
        weight_decay: AdamW's, on every parameter.
        views: cached: random views of each image; None for as many as the number of images asks for.
        pixels: cached: random pixels of each view in each step.
        held_out: cached: share of the training images that chooses between heads (8 at least, half at most).
        seed: of every draw.
        size: side of the training views, for data sets of square images; None for the data set's own.
        limit: use so many training images, evenly spread; None for all.
        partial: use a data set of which images are missing.
    """

    data: str
    features: FeatureConfig
    protocol: FitProtocol = "cached"
    steps: int | None = None
    batch_size: int = 16
    learning_rates: tuple[float, ...] = (1e-3,)
    weight_decay: float = 1e-4
    views: int | None = None
    pixels: int = 256
    held_out: float = 0.05
    seed: int = 0
    size: int | None = None
    limit: int | None = None
    partial: bool = field(default=False, metadata=CHANGEABLE)

    def __post_init__(self) -> None:
        if self.protocol not in ("cached", "published"):
            raise ConfigError(f"protocol must be cached or published; got {self.protocol!r}")
        for name in ("batch_size", "views", "pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"steps must be 1 or more; got {self.steps}")
        rates = self.learning_rates
        if not rates or not all(rate > 0 and math.isfinite(rate) for rate in rates):
            raise ConfigError(f"learning rates must be positive; got {rates}")
        if self.protocol == "published" and len(rates) != 1:
            raise ConfigError(
                f"the published protocol fits one head: give one learning rate (--lr); got {len(rates)}. "
                "Several are fitted together by --protocol cached."
            )
        if not 0.0 < self.held_out < 1.0:
            raise ConfigError(f"held_out must lie between 0 and 1; got {self.held_out}")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a fit computes; nothing here changes what comes out.

    Attributes:
        out: the head's folder.
        cache: where features are kept; None: in the head's folder.
        device: to compute on.
        workers: loader processes; None: the CPUs of this process.
        recompute: keep only the inputs of transformer blocks that train for the backward pass.
        console: for messages.
        command: what was typed, for the record.
    """

    out: Path
    cache: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int | None = None
    recompute: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))
    command: tuple[str, ...] = ()

    @property
    def cache_folder(self) -> Path:
        """Where features are kept."""
        return self.out / "cache" if self.cache is None else self.cache

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
