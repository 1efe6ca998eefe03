"""Scores of samples, averaged in their categories and then over the categories, with intervals.

A sample brings sums and a weight (its pairs of views, or 1); a category's score is the sum of its samples' sums over
their weights. Samples are the unit of resampling, within their category, so that every resample has all categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import RESAMPLES, Interval


@dataclass(frozen=True)
class MultiviewResult:
    """Numbers of every sample.

    Attributes:
        scores: names of the measures.
        sums: (sample, measure), percent times the weight.
        weights: (sample,), pairs of views, or ones.
        names, categories: of the samples.
        details: arrays for a file of numbers per sample.
        pictures: rows of image, truth, prediction, (row, column, 3) uint8.
    """

    scores: tuple[str, ...]
    sums: np.ndarray
    weights: np.ndarray
    names: tuple[str, ...]
    categories: tuple[str, ...]
    details: dict[str, np.ndarray]
    pictures: list[list[np.ndarray]]

    def intervals(self) -> dict[str, Interval]:
        """Means over categories, with 95 % intervals over samples."""
        return category_intervals(self.scores, self.sums, self.weights, self.categories)

    def by_category(self) -> dict[str, dict[str, Interval]]:
        """The same for every category; nothing where there is only one."""
        found = groups(self.categories)
        return {
            name: category_intervals(self.scores, self.sums[rows], self.weights[rows], [name] * len(rows))
            for name, rows in found.items()
            if len(found) > 1
        }


def category_intervals(
    names: Sequence[str],
    sums: np.ndarray,
    weights: np.ndarray,
    categories: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Every measure as a mean over categories, with a percentile-bootstrap 95 % interval over samples.

    Args:
        names: of the measures.
        sums: (sample, measure). weights: (sample,), positive.
        categories: of the samples.
        seed, resamples: of the bootstrap.

    Raises:
        DataError: without samples, or if a number is not finite.
    """
    if len(sums) == 0 or not np.isfinite(sums).all():
        raise DataError(f"scores need finite numbers of one sample at least; got {len(sums)} samples")
    generator = np.random.default_rng(seed)
    drawn, whole = [], []
    for rows in groups(categories).values():
        times = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
        drawn.append((times @ sums[rows]) / (times @ weights[rows])[:, None])
        whole.append(sums[rows].sum(0) / weights[rows].sum())
    low, high = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5], axis=0)
    means = np.mean(whole, axis=0)
    return {
        name: Interval(float(means[column]), float(low[column]), float(high[column]), len(sums))
        for column, name in enumerate(names)
    }


def groups(categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers of the samples of every category, sorted by its name."""
    labels = np.asarray(categories)
    return {str(name): np.flatnonzero(labels == name) for name in np.unique(labels)}
