"""Average scores of samples within categories and then over categories, with confidence intervals.

A sample has scores and a weight (its number of pairs of views, or 1); a category's score is the weighted mean over its
samples. The bootstrap resamples groups of samples (a sequence, a scene) within their category, so that every resample
has all categories. A category with a single group has no interval, and neither has a mean that includes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import RESAMPLES, Interval, Resampled, group_numbers
from codistill.tasks.evaluation import intervals, plain_interval
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import Statistic
from codistill.tasks.task import Column, Summary


@dataclass(frozen=True)
class CategoryMean(Statistic):
    """The mean over categories of a weighted mean over samples; see `Statistic`.

    Reads a table's `scores` (sample, measure), `category` and, if present, `pairs` (the weight).

    Attributes:
        index: index into the scores of a sample.
    """

    index: int

    def resampled(self, table: ScoreTable) -> Resampled:
        return self._over(table, [table])

    def resampled_difference(self, one: ScoreTable, other: ScoreTable) -> Resampled:
        return self._over(one, [one, other])

    def _over(self, table: ScoreTable, compared: Sequence[ScoreTable]) -> Resampled:
        """The mean of the first table, or its difference from that of the second."""
        weights = np.stack([_weights(one) for one in compared], axis=1)
        sums = np.stack([one.values["scores"][:, self.index] for one in compared], axis=1) * weights
        return resample_categories(sums, weights, table.values["category"].tolist(), table.groups.names)


def _weights(table: ScoreTable) -> np.ndarray:
    return np.asarray(table.values.get("pairs", np.ones(len(table))), dtype=np.float64)


def resample_categories(
    sums: np.ndarray,
    weights: np.ndarray,
    categories: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """A mean over categories, or the difference of two such means, with bootstrap resamples.

    Args:
        sums, weights: (sample, 1), or (sample, 2) for the first minus the second; weights are positive.
        categories: category of each sample.
        groups: group of each sample, resampled within each category; None: all samples are independent.
        seed, resamples: seed and number of resamples of the bootstrap.

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
        group_sums, group_weights = np.zeros((2, count, sums.shape[1]))
        np.add.at(group_sums, number, sums[rows])
        np.add.at(group_weights, number, weights[rows])
        times = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
        drawn.append((times @ group_sums) / (times @ group_weights))
        whole.append(sums[rows].sum(0) / weights[rows].sum(0))
        counts.append(count)
    signs = np.array([1.0, -1.0])[: sums.shape[1]]
    return Resampled(
        whole=float(np.mean(whole, axis=0) @ signs),
        draws=np.mean(drawn, axis=0) @ signs,
        count=len(sums),
        groups=sum(counts),
        known=min(counts) > 1,
    )


def by_name(categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Indices of the samples of each category, sorted by its name."""
    labels = np.asarray(categories)
    return {str(name): np.flatnonzero(labels == name) for name in np.unique(labels)}


def by_category(table: ScoreTable, columns: Mapping[str, Column]) -> dict[str, dict[str, Interval]]:
    """Scores of each category; empty if there is only one."""
    found = by_name(table.values["category"].tolist())
    parts = {name: table.at(rows) for name, rows in found.items() if len(found) > 1}
    return {name: intervals(columns, part) for name, part in parts.items()}


def category_summary(table: ScoreTable, columns: Mapping[str, Column], facts: Mapping[str, Any]) -> Summary:
    """Scores of each category, as facts and as lines.

    Args:
        table: counts of every sample.
        columns: the task's columns.
        facts: further facts.
    """
    parts = by_category(table, columns)
    plain = {
        name: {key: plain_interval(found) for key, found in part.items()} for name, part in parts.items()
    }
    lines = []
    for name, part in parts.items():
        count = next(iter(part.values())).count
        means = ", ".join(f"{key} {interval.mean:.1f}" for key, interval in part.items())
        lines.append(f"{name} ({count} sample{'s' * (count > 1)}): {means}")
    categories = len(set(table.values["category"].tolist()))
    return Summary(facts={"categories": categories, "by_category": plain, **facts}, lines=tuple(lines))
