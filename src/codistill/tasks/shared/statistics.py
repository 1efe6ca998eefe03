"""Compute scores from counts, with confidence intervals of scores and of paired differences.

Takes a `ScoreTable`, returns a `Resampled` score. The bootstrap resamples groups of samples (`metrics/interval.py`).
For a paired difference, two tables of the same samples are resampled together, so that their common variance cancels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import (
    RESAMPLES,
    Interval,
    Resampled,
    bootstrap_times,
    resample_mean,
    resample_sums,
)
from codistill.tasks.shared.score_table import ScoreTable


class Statistic(ABC):
    """A score of a table; subclasses implement the two abstract methods."""

    @abstractmethod
    def resampled(self, table: ScoreTable) -> Resampled | None:
        """The score and its bootstrap resamples; None if no sample has it."""

    @abstractmethod
    def resampled_difference(self, one: ScoreTable, other: ScoreTable) -> Resampled:
        """The score of `one` minus that of `other`, over the samples that have it in both.

        Raises:
            DataError: if there is no such sample.
        """

    def interval(self, table: ScoreTable) -> Interval | None:
        """The score with its 95 % confidence interval; None if no sample has it."""
        found = self.resampled(table)
        return None if found is None else found.interval()

    def difference(self, one: ScoreTable, other: ScoreTable) -> Interval:
        """The difference of `resampled_difference` with its 95 % confidence interval."""
        return self.resampled_difference(one, other).interval()


@dataclass(frozen=True)
class MeanOf(Statistic):
    """The mean of a number over samples; samples where it is NaN are left out.

    Attributes:
        key: key in `ScoreTable.values`.
        index: entry of a sample's values; None for scalars.
        scale: factor on the mean: 100 turns shares into per cent.
    """

    key: str
    index: int | None = None
    scale: float = 1.0

    def resampled(self, table: ScoreTable) -> Resampled | None:
        return self._over(table, self._values(table))

    def resampled_difference(self, one: ScoreTable, other: ScoreTable) -> Resampled:
        found = self._over(one, self._values(one) - self._values(other))
        if found is None:
            raise DataError("no sample has this score in both evaluations")
        return found

    def _values(self, table: ScoreTable) -> np.ndarray:
        values = np.asarray(table.values[self.key], dtype=np.float64)
        return self.scale * (values if self.index is None else values[:, self.index])

    @staticmethod
    def _over(table: ScoreTable, values: np.ndarray) -> Resampled | None:
        known = np.flatnonzero(~np.isnan(values))
        return resample_mean(values[known], table.groups.at(known.tolist()).names) if known.size else None


@dataclass(frozen=True)
class SumsOf(Statistic):
    """A score computed from sums over samples, such as mIoU from class counts.

    Attributes:
        sums: given a table, returns the numbers (sample, …) to be summed.
        score: given sums (resample, …), returns scores (resample,).
        defined: whether the sums over all samples have a score.
    """

    sums: Callable[[ScoreTable], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]
    defined: Callable[[np.ndarray], bool] = lambda total: True

    def resampled(self, table: ScoreTable) -> Resampled | None:
        sums = self.sums(table)
        return resample_sums(sums, self.score, table.groups.names) if self.defined(sums.sum(0)) else None

    def resampled_difference(self, one: ScoreTable, other: ScoreTable) -> Resampled:
        both = np.stack((self.sums(one), self.sums(other)), axis=1)
        if not (self.defined(both[:, 0].sum(0)) and self.defined(both[:, 1].sum(0))):
            raise DataError("one of the two evaluations has no such score")
        return resample_sums(both, lambda s: self.score(s[:, 0]) - self.score(s[:, 1]), one.groups.names)


@dataclass(frozen=True)
class RepeatedOf(Statistic):
    """A score that is not a function of sums, such as a median or an area under a curve; resamples repeat samples.

    Attributes:
        keys: keys in `ScoreTable.values` that it reads.
        score: given these arrays, and how many times each sample is in each resample (resample, sample), returns
            scores (resample,), which may be infinite.
    """

    keys: tuple[str, ...]
    score: Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]
    resamples: int = RESAMPLES // 2

    def resampled(self, table: ScoreTable) -> Resampled | None:
        return self._resampled(table, lambda times: self.score(self._arrays(table), times))

    def resampled_difference(self, one: ScoreTable, other: ScoreTable) -> Resampled:
        def both(times: np.ndarray) -> np.ndarray:
            ours, theirs = self.score(self._arrays(one), times), self.score(self._arrays(other), times)
            equal = ours == theirs  # two infinite medians are equal
            return np.where(equal, 0.0, ours) - np.where(equal, 0.0, theirs)

        return self._resampled(one, both)

    def _arrays(self, table: ScoreTable) -> dict[str, np.ndarray]:
        return {key: table.values[key] for key in self.keys}

    def _resampled(self, table: ScoreTable, score: Callable[[np.ndarray], np.ndarray]) -> Resampled:
        names, groups = table.groups.names, table.groups.count
        drawn = [score(times) for times in bootstrap_times(len(table), names, resamples=self.resamples)]
        whole = float(score(np.ones((1, len(table)), dtype=np.int64))[0])
        return Resampled(whole, np.concatenate(drawn), len(table), groups, groups > 1, between=False)
