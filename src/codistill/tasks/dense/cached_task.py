"""A task's side of the cached protocol: what its heads lose and score on sampled pixels of cached views."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from codistill.tasks.dense.cache import FeatureCache, TargetKind


@dataclass(frozen=True)
class Sampled:
    """Views of a step on the device, and pixels of them.

    Attributes:
        tokens: (view, patch, channel). cls: (view, channel) or None. grid: of the tokens.
        rows, columns: (view, pixel) places in the target.
        truth: (view, pixel) the target there.
        target_size: rows and columns of the target.
    """

    tokens: Tensor
    cls: Tensor | None
    grid: tuple[int, int]
    rows: Tensor
    columns: Tensor
    truth: Tensor
    target_size: tuple[int, int]


class CachedTask(ABC):
    """A task's side of the cached protocol.

    Attributes:
        kind: of its targets.
        with_cls: whether heads want class tokens.
        higher_is_better: of its scores.
        score_name: for the record.
        clip_norm: of a head's gradient, or None.
    """

    kind: ClassVar[TargetKind]
    with_cls: ClassVar[bool] = False
    higher_is_better: ClassVar[bool] = True
    score_name: ClassVar[str]
    clip_norm: ClassVar[float | None] = None

    @property
    def unit(self) -> float:
        """Metres that a stored target counts in."""
        return 0.001

    @abstractmethod
    def build(self, channels: int, count: int) -> nn.Module:
        """`count` fresh heads on maps of so many channels (class tokens included)."""

    @abstractmethod
    def losses(self, heads: Any, sampled: Sampled, step: int) -> Tensor:
        """One loss per head."""

    @abstractmethod
    def tally(self, heads: Any, sampled: Sampled) -> np.ndarray:
        """(head, ...) numbers that add over views."""

    @abstractmethod
    def score(self, total: np.ndarray) -> np.ndarray:
        """(head,) scores of summed tallies."""

    @abstractmethod
    def factors(self, steps: int) -> Sequence[float]:
        """Learning rate of each step, as a part of the peak."""


def sample_pixels(
    cache: FeatureCache, views: np.ndarray, count: int, rng: np.random.Generator, device: torch.device
) -> Sampled:
    """Cached views on the device, with `count` random pixels of each."""
    height, width = cache.shape.target
    rows = torch.from_numpy(rng.integers(0, height, size=(len(views), count)))
    columns = torch.from_numpy(rng.integers(0, width, size=(len(views), count)))
    target = cache.target(views)
    truth = target[torch.arange(len(views))[:, None], rows, columns]
    cls = cache.cls(views)
    return Sampled(
        tokens=cache.tokens(views).to(device).float(),
        cls=None if cls is None else cls.to(device).float(),
        grid=cache.shape.grid,
        rows=rows.to(device),
        columns=columns.to(device),
        truth=truth.to(device),
        target_size=cache.shape.target,
    )
