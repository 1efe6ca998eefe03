"""What a task defines for the cached protocol: loss and score of its heads on sampled pixels of cached views."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from codistill.engine.optim import OptimConfig
from codistill.heads.linear.sampling import corners_of, features_at
from codistill.tasks.dense.cache import FeatureCache
from codistill.tasks.dense.targets import TargetKind


@dataclass(frozen=True)
class Sampled:
    """The views of a step on the device, and the pixels sampled from them.

    Attributes:
        tokens: (view, patch, channel). cls: (view, channel) or None. grid: rows and columns of the token map.
        rows, columns: positions (view, pixel) in the target.
        truth: target values (view, pixel, …) at these positions.
        target_size: rows and columns of the target.
    """

    tokens: Tensor
    cls: Tensor | None
    grid: tuple[int, int]
    rows: Tensor
    columns: Tensor
    truth: Tensor
    target_size: tuple[int, int]

    def features(self) -> Tensor:
        """Features (view x pixel, channel): the token map, resized to the target's size, at the sampled pixels."""
        corners = corners_of(self.rows, self.columns, self.grid, self.target_size)  # (view, pixel, 4)
        return features_at(self.tokens, corners).flatten(0, 1)

    def scored(self, heads: Any) -> tuple[Tensor, Tensor]:
        """Scores of all heads at the pixels, (head, view, pixel, score), and the ground truth there."""
        truth = self.truth.expand(heads.heads, *self.truth.shape)  # (head, view, pixel, …)
        return heads(self.features()).unflatten(1, self.rows.shape), truth


class CachedTask(ABC):
    """What a task defines for the cached protocol.

    Attributes:
        kind: kind of its targets.
        with_cls: whether its heads need class tokens.
        higher_is_better: whether a higher score is better.
        score_name: name of the score, for the record.
        optim: optimizer and schedule; learning rates come from the fit's config.
        clip_norm: largest gradient norm of a head, or None.
    """

    kind: ClassVar[TargetKind]
    with_cls: ClassVar[bool] = False
    higher_is_better: ClassVar[bool] = True
    score_name: ClassVar[str]
    optim: ClassVar[OptimConfig]
    clip_norm: ClassVar[float | None] = None

    @property
    def unit(self) -> float:
        """Metres per stored depth unit."""
        return 0.001

    @abstractmethod
    def build(self, channels: int, count: int) -> nn.Module:
        """Build `count` untrained heads on feature maps of `channels` channels (class tokens included)."""

    @abstractmethod
    def losses(self, heads: Any, sampled: Sampled, step: int) -> Tensor:
        """Losses (head,) on the sampled pixels."""

    @abstractmethod
    def tally(self, heads: Any, sampled: Sampled) -> np.ndarray:
        """Numbers (head, ...) that are summed over views."""

    def score(self, total: np.ndarray) -> np.ndarray:
        """Scores (head,) from summed tallies; see `views_tally`."""
        return total[:, 0] / total[:, 1]

    def factors(self, steps: int) -> list[float]:
        """Learning rate of each step, as a fraction of the peak."""
        return [rate / self.optim.lr for rate in self.optim.learning_rates(steps, 1)]


def views_tally(errors: Tensor, known: Tensor) -> np.ndarray:
    """Per head, sum of the errors (head, view) and number of views, over views with known ground truth: (head, 2)."""
    there = known.expand_as(errors)  # (head, view)
    return torch.stack(((errors * there).sum(1), there.sum(1).float()), dim=1).double().cpu().numpy()


def sample_pixels(
    cache: FeatureCache, views: np.ndarray, count: int, rng: np.random.Generator, device: torch.device
) -> Sampled:
    """Load cached views to the device, with `count` random pixels of each."""
    height, width = cache.shape.target
    rows = rng.integers(0, height, size=(len(views), count))  # (view, pixel)
    columns = rng.integers(0, width, size=(len(views), count))
    cls = cache.cls(views)  # (view, channel), if any
    return Sampled(
        tokens=cache.tokens(views).to(device).float(),
        cls=None if cls is None else cls.to(device).float(),
        grid=cache.shape.grid,
        rows=torch.from_numpy(rows).to(device),
        columns=torch.from_numpy(columns).to(device),
        truth=cache.target_at(views, rows, columns).to(device),
        target_size=cache.shape.target,
    )
