"""Scores of samples, averaged in their categories and then over the categories, with intervals.

A sample brings sums and a weight (its pairs of views, or 1); a category's score is the sum of its samples' sums over
their weights. Groups of samples (a sequence, a scene) are the unit of resampling, within their category, so that every
resample has all categories; of a category with one group alone, and of a mean over it, no interval is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import RESAMPLES, Interval, group_numbers
from codistill.tasks.shared.groups import Groups


@dataclass(frozen=True)
class MultiviewResult:
    """Numbers of every sample.

    Attributes:
        scores: names of the measures.
        sums: (sample, measure), percent times the weight.
        weights: (sample,), pairs of views, or ones.
        names, categories, groups: of the samples.
        details: arrays for a file of numbers per sample.
        pictures: rows of image, truth, prediction, (row, column, 3) uint8.
    """

    scores: tuple[str, ...]
    sums: np.ndarray
    weights: np.ndarray
    names: tuple[str, ...]
    categories: tuple[str, ...]
    groups: Groups
    details: dict[str, np.ndarray]
    pictures: list[list[np.ndarray]]

    def intervals(self) -> dict[str, Interval]:
        """Means over categories, with 95 % intervals over groups of samples."""
        return category_intervals(self.scores, self.sums, self.weights, self.categories, self.groups.names)

    def by_category(self) -> dict[str, dict[str, Interval]]:
        """The same for every category; nothing where there is only one."""
        found = by_name(self.categories)
        return {
            name: category_intervals(
                self.scores,
                self.sums[rows],
                self.weights[rows],
                [name] * len(rows),
                self.groups.at(rows.tolist()).names,
            )
            for name, rows in found.items()
            if len(found) > 1
        }


def category_intervals(
    names: Sequence[str],
    sums: np.ndarray,
    weights: np.ndarray,
    categories: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Every measure as a mean over categories, with a percentile-bootstrap 95 % interval.

    Args:
        names: of the measures.
        sums: (sample, measure). weights: (sample,), positive.
        categories: of the samples.
        groups: of the samples, resampled within each category; None where all are independent.
        seed, resamples: of the bootstrap.

    Raises:
        DataError: without samples, or if a number is not finite.
    """
    if len(sums) == 0 or not np.isfinite(sums).all():
        raise DataError(f"scores need finite numbers of one sample at least; got {len(sums)} samples")
    generator = np.random.default_rng(seed)
    numbers, _ = group_numbers(groups, len(sums))
    drawn, whole, counts = [], [], []
    for rows in by_name(categories).values():
        known, number = np.unique(numbers[rows], return_inverse=True)
        count = len(known)
        group_sums, group_weights = (
            np.zeros((count, sums.shape[1])),
            np.bincount(number, weights[rows], count),
        )
        np.add.at(group_sums, number, sums[rows])
        times = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
        drawn.append((times @ group_sums) / (times @ group_weights)[:, None])
        whole.append(sums[rows].sum(0) / weights[rows].sum())
        counts.append(count)
    low, high = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5], axis=0)
    means = np.mean(whole, axis=0)
    known = min(counts) > 1
    return {
        name: Interval(
            mean=float(means[column]),
            low=float(low[column]) if known else None,
            high=float(high[column]) if known else None,
            count=len(sums),
            groups=sum(counts),
        )
        for column, name in enumerate(names)
    }


def by_name(categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers of the samples of every category, sorted by its name."""
    labels = np.asarray(categories)
    return {str(name): np.flatnonzero(labels == name) for name in np.unique(labels)}
