"""Config that all head fits share, and run-time options that may differ between calls: where and how to compute."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console

from codistill.errors import check_least
from codistill.files.config import CHANGEABLE
from codistill.files.idle import Idle, refuse_idle
from codistill.tasks.shared.features import FeatureConfig


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """Config that every head fit shares; tasks derive their own from it. Saved with the run and the head.

    Attributes:
        data: `LAYOUT:FOLDER` of the training data.
        features: input of the head.
        limit: number of training samples to use, evenly spread; None: all.
        partial: use an incomplete data set.
        seed: seed of every random draw.
    """

    data: str = ""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    limit: int | None = None
    partial: bool = field(default=False, metadata=CHANGEABLE)
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, "limit")
        refuse_idle(self, self.idle())

    def idle(self) -> Iterator[Idle]:
        """Fields that have no effect with the other fields as they are; setting one of them is an error."""
        yield from ()

    def idle_computing(self) -> Iterator[Idle]:
        """Which of `Runtime`'s `cache` and `recompute` have no effect on this fit."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how to compute; nothing here changes the result.

    Attributes:
        out: the head's folder.
        cache: folder for cached features; None: a folder in the head's folder.
        device: device to compute on.
        workers: loader processes, None: one per CPU of this process; or threads that read what is scored, None: 1.
        recompute: in transformer blocks that train, keep only the inputs for the backward pass and compute the rest
            again.
        console: console for messages.
        command: the command line, for provenance.
    """

    out: Path
    cache: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int | None = None
    recompute: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_least(self, "workers", least=0)

    @property
    def cache_folder(self) -> Path:
        return self.out / "cache" if self.cache is None else self.cache

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
