"""Correlation between the teachers' losses, computed on their changes from one update to the next (DUNE, Fig. 5).

In: each teacher's loss at every update. Out: for each pair of teachers, the correlation of the two series of changes,
and the share of updates at which both losses moved in the same direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from codistill.errors import DataError


@dataclass(frozen=True)
class PairCorrelation:
    """How the losses of two teachers move together.

    Attributes:
        first, second: the teachers.
        correlation: Pearson correlation of the changes; NaN if one loss never changes.
        agreement: share of updates at which both changes had the same sign.
        updates: number of changes that both teachers have.
    """

    first: str
    second: str
    correlation: float
    agreement: float
    updates: int


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
            results.append(PairCorrelation(first, second, np.nan, np.nan, int(a.size)))
            continue
        spread = a.std() * b.std()
        correlation = float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else np.nan
        agreement = float((np.sign(a) == np.sign(b)).mean())
        results.append(PairCorrelation(first, second, correlation, agreement, int(a.size)))
    return results
