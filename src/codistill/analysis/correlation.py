"""Correlation between the teachers' losses, computed on their changes from one update to the next (DUNE, Fig. 5).

In: each teacher's loss at every update. Out: for each pair of teachers, the correlation of the two series of changes
with its confidence interval, and the share of updates at which both losses moved in the same direction.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from codistill.analysis.log import read_series
from codistill.errors import DataError

BLOCK, RESAMPLES = 10, 1000
"""Of the moving-block bootstrap: successive changes in a block (a loss enters two of them), and resamples."""


@dataclass(frozen=True)
class PairCorrelation:
    """How the losses of two teachers move together.

    Attributes:
        first, second: the teachers.
        correlation: Pearson correlation of the changes; NaN if one loss never changes.
        low, high: its 95 % interval by a moving-block bootstrap over the updates; NaN for fewer than two blocks.
        agreement: share of updates at which both changes had the same sign.
        updates: number of changes that both teachers have.
    """

    first: str
    second: str
    correlation: float
    low: float
    high: float
    agreement: float
    updates: int

    def as_json(self) -> dict[str, str | float | None]:
        """Return the fields by name; None for NaN, which JSON has not."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def loss_change_correlations(losses: Mapping[str, np.ndarray]) -> list[PairCorrelation]:
    """Compute one result for each pair of teachers.

    Args:
        losses: for each teacher (update,), one value per update without gaps; NaN if the update had no image for the
            teacher. A change counts if both of its updates have a loss.

    Raises:
        DataError: for fewer than two teachers, or series of different lengths.
    """
    lengths = {len(series) for series in losses.values()}
    if len(losses) < 2 or len(lengths) != 1:
        raise DataError(f"correlations need two or more series of one length; got lengths {sorted(lengths)}")
    changes = {name: np.diff(np.asarray(series, dtype=np.float64)) for name, series in losses.items()}
    results = []
    for first, second in combinations(changes, 2):
        a, b = changes[first], changes[second]
        both = np.isfinite(a) & np.isfinite(b)
        a, b = a[both], b[both]
        if a.size < 2:
            results.append(PairCorrelation(first, second, np.nan, np.nan, np.nan, np.nan, int(a.size)))
            continue
        agreement = float((np.sign(a) == np.sign(b)).mean())
        low, high = _interval(a, b)
        results.append(PairCorrelation(first, second, _pearson(a, b), low, high, agreement, int(a.size)))
    return results


def correlations_of_run(run: Path) -> list[PairCorrelation]:
    """The same of a run's log; empty with a single teacher.

    Raises:
        DataError: if the log is missing or damaged.
    """
    series = read_series(run / "metrics.jsonl")
    teachers = series.teachers()
    if len(teachers) < 2:
        return []
    return loss_change_correlations({name: series.values[f"loss/{name}"] for name in teachers})


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else np.nan


def _interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the correlation; successive changes are drawn together, in blocks."""
    if a.size < 2 * BLOCK or not np.isfinite(_pearson(a, b)):
        return np.nan, np.nan
    rng, within = np.random.default_rng(0), np.arange(BLOCK)
    drawn = []
    for _ in range(RESAMPLES):
        starts = rng.integers(0, a.size - BLOCK + 1, -(-a.size // BLOCK))
        chosen = (starts[:, None] + within).ravel()[: a.size]
        drawn.append(_pearson(a[chosen], b[chosen]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
