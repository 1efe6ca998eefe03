"""What every fit of a head is told, and what may differ between two calls: where and how it computes."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from codistill.errors import check_least
from codistill.files.config import CHANGEABLE
from codistill.tasks.shared.features import FeatureConfig


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """What every fit of a head says; tasks derive their own from it. Saved with the run, and in every head.

    Attributes:
        data: `LAYOUT:FOLDER` of the training data.
        features: what the head stands on.
        limit: use so many training samples, evenly spread; None for all.
        partial: use a data set of which images are missing.
        seed: of every draw.
    """

    data: str = ""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    limit: int | None = None
    partial: bool = field(default=False, metadata=CHANGEABLE)
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, "limit")


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
