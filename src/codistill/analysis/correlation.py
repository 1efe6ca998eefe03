"""Correlation of the teachers' losses: of their changes from one update to the next (DUNE, Fig. 5).

In: each teacher's loss at every update. Out: per pair, the correlation of the two series of changes and the share
of updates at which both losses moved the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from codistill.errors import DataError


@dataclass(frozen=True)
class PairCorrelation:
    """How two teachers' losses move together.

    Attributes:
        first, second: the teachers.
        correlation: Pearson's, of the changes; NaN if one loss never changes.
        agreement: share of updates at which both changes had the same sign.
        updates: changes that both teachers have.
    """

    first: str
    second: str
    correlation: float
    agreement: float
    updates: int


def loss_change_correlations(losses: Mapping[str, np.ndarray]) -> list[PairCorrelation]:
    """One result per pair of teachers.

    Args:
        losses: per teacher (update,), one value per update without gaps in between; NaN where the update had no
            image for the teacher. A change counts where both updates have a loss.

    Raises:
        DataError: with fewer than two teachers, or series of different lengths.
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
            results.append(PairCorrelation(first, second, np.nan, np.nan, int(a.size)))
            continue
        spread = a.std() * b.std()
        correlation = float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else np.nan
        agreement = float((np.sign(a) == np.sign(b)).mean())
        results.append(PairCorrelation(first, second, correlation, agreement, int(a.size)))
    return results
