"""Combine the scores of several trainings: the mean over seeds, with a confidence interval over images and seeds.

Trainings that differ only in their seed are scored on the same images, so images and seeds are crossed. Each resample
draws groups of images, the same for all seeds, and independently draws seeds, both with replacement. S values drawn
from themselves vary only (S - 1)/S times as much as new ones would. So the deviation of the drawn seeds from all seeds
is widened by √(S / (S - 1)). With few seeds such intervals are rough all the same.
Source: Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics, 2007), for the crossed draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import Resampled, percentiles

HOW = (
    "95 % percentile bootstrap over images and seeds: every resample draws groups of test images (the same for all "
    "seeds) and, independently, seeds, both with replacement; deviations of the drawn seeds are widened by √(S/(S-1))"
)
"""How intervals are computed, for captions."""


@dataclass(frozen=True)
class SeedScore:
    """A score over seeds.

    Attributes:
        mean: mean over seeds, each on all images.
        low, high: 2.5th and 97.5th percentile over images and seeds; None if they are unknown.
        values: score of each seed.
        count, groups: number of images, and of groups of them that were resampled.
        p: for differences: twice the share of resamples on the other side of 0; None without an interval.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    count: int
    groups: int
    p: float | None = None


def over_seeds(scores: Sequence[Resampled], *, seed: int = 0) -> SeedScore:
    """Combine the scores of trainings that differ only in their seed.

    Args:
        scores: score of each training, on the same images with the same draws. A single one keeps its own interval,
            over images.
        seed: seed of the draws of seeds.

    Raises:
        DataError: without scores, or if they are not of the same images.
    """
    if not scores:
        raise DataError("a score over seeds needs one seed at least")
    first = scores[0]
    if any((one.count, len(one.draws)) != (first.count, len(first.draws)) for one in scores):
        raise DataError("scores over seeds need the same images for every seed")
    values = tuple(one.whole for one in scores)
    with np.errstate(invalid="ignore"):
        mean = float(np.mean(values))
        drawn = _drawn(np.stack([one.draws for one in scores]), np.random.default_rng(seed))
    known = all(one.known for one in scores)
    low, high = percentiles(drawn, between=all(one.between for one in scores)) if known else (None, None)
    return SeedScore(
        mean, low, high, values, first.count, first.groups, _beyond_zero(drawn) if known else None
    )


def _drawn(draws: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Means over drawn seeds (resample,), from scores (seed, resample)."""
    seeds, resamples = draws.shape
    every = draws.mean(0)
    if seeds == 1:
        return every
    chosen = generator.integers(0, seeds, size=(seeds, resamples))
    some = np.take_along_axis(draws, chosen, axis=0).mean(0)
    wide = every + np.sqrt(seeds / (seeds - 1)) * (some - every)
    return np.where(np.isfinite(wide), wide, some)  # medians may be infinite


def _beyond_zero(draws: np.ndarray) -> float:
    draws = draws[~np.isnan(draws)]
    sides = (np.sum(draws <= 0), np.sum(draws >= 0))
    return min(1.0, 2.0 * (1 + int(min(sides))) / (1 + len(draws)))
