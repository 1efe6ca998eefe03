"""Scores from counts, with their intervals and those of paired differences.

A `ScoreTable` in, an `Interval` out; groups of samples are the unit of resampling (`metrics/interval.py`). Two tables
of the same samples are resampled together, so that their common variance cancels in the difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codistill.errors import DataError
from codistill.metrics.interval import RESAMPLES, Interval, bootstrap_mean, bootstrap_rows, bootstrap_sums
from codistill.tasks.shared.score_table import ScoreTable


class Statistic(Protocol):
    """A score of a table."""

    def interval(self, table: ScoreTable) -> Interval | None:
        """The score with its 95 % interval; None if no sample has it."""
        ...

    def difference(self, one: ScoreTable, other: ScoreTable) -> Interval:
        """The score of `one` minus that of `other`, over the samples in which both have it.

        Raises:
            DataError: if there is no such sample.
        """
        ...


@dataclass(frozen=True)
class MeanOf:
    """The mean over samples of a number; samples without it (NaN) are left out.

    Attributes:
        key: of `ScoreTable.values`.
        index: entry of a sample's values; None for scalars.
        scale: factor: 100 turns shares into per cent.
    """

    key: str
    index: int | None = None
    scale: float = 1.0

    def interval(self, table: ScoreTable) -> Interval | None:
        return self._over(table, self._values(table))

    def difference(self, one: ScoreTable, other: ScoreTable) -> Interval:
        found = self._over(one, self._values(one) - self._values(other))
        if found is None:
            raise DataError("no sample has this score in both evaluations")
        return found

    def _values(self, table: ScoreTable) -> np.ndarray:
        values = np.asarray(table.values[self.key], dtype=np.float64)
        return self.scale * (values if self.index is None else values[:, self.index])

    @staticmethod
    def _over(table: ScoreTable, values: np.ndarray) -> Interval | None:
        known = np.flatnonzero(~np.isnan(values))
        return bootstrap_mean(values[known], table.groups.at(known.tolist()).names) if known.size else None


@dataclass(frozen=True)
class SumsOf:
    """A score of sums over samples, such as mIoU of class counts.

    Attributes:
        sums: table to (sample, …) numbers to be summed.
        score: from sums (resample, …) to (resample,).
        defined: whether the sums over all samples have a score.
    """

    sums: Callable[[ScoreTable], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]
    defined: Callable[[np.ndarray], bool] = lambda total: True

    def interval(self, table: ScoreTable) -> Interval | None:
        sums = self.sums(table)
        return bootstrap_sums(sums, self.score, table.groups.names) if self.defined(sums.sum(0)) else None

    def difference(self, one: ScoreTable, other: ScoreTable) -> Interval:
        both = np.stack((self.sums(one), self.sums(other)), axis=1)
        if not (self.defined(both[:, 0].sum(0)) and self.defined(both[:, 1].sum(0))):
            raise DataError("one of the two evaluations has no such score")
        return bootstrap_sums(both, lambda s: self.score(s[:, 0]) - self.score(s[:, 1]), one.groups.names)


@dataclass(frozen=True)
class RowsOf:
    """A score that is no function of sums, such as a median or an area under a curve; resamples repeat rows.

    Attributes:
        keys: of `ScoreTable.values` that it reads.
        score: these arrays of some samples to a number, which may be infinite.
    """

    keys: tuple[str, ...]
    score: Callable[[Mapping[str, np.ndarray]], float]
    resamples: int = RESAMPLES // 2

    def interval(self, table: ScoreTable) -> Interval | None:
        return self._interval(table, lambda rows: self.score(self._arrays(table, rows)))

    def difference(self, one: ScoreTable, other: ScoreTable) -> Interval:
        def both(rows: np.ndarray) -> float:
            return self.score(self._arrays(one, rows)) - self.score(self._arrays(other, rows))

        return self._interval(one, both)

    def _arrays(self, table: ScoreTable, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {key: table.values[key][rows] for key in self.keys}

    def _interval(self, table: ScoreTable, score: Callable[[np.ndarray], float]) -> Interval:
        names, groups = table.groups.names, table.groups.count
        drawn = [score(rows) for rows in bootstrap_rows(len(table), names, resamples=self.resamples)]
        low, high = np.percentile(drawn, [2.5, 97.5], method="nearest")  # medians may be infinite
        limits = (float(low), float(high)) if groups > 1 else (None, None)
        return Interval(score(np.arange(len(table))), *limits, len(table), groups)
