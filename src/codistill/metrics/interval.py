"""Bootstrap intervals: numbers per image in, a score and its 95 % interval out. Images are the unit of resampling."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError

RESAMPLES = 2000
_CHUNK = 4_000_000  # draws held at a time


@dataclass(frozen=True)
class Interval:
    """A score over images with its bootstrap interval.

    Attributes:
        mean: of the values, or the score of all images.
        low, high: 2.5th and 97.5th percentile over resamples.
        count: number of images.
    """

    mean: float
    low: float
    high: float
    count: int

    def above(self, other: "Interval") -> bool:
        """Whether this is larger and the intervals do not overlap: what "better" means here."""
        return self.low > other.high

    def within(self, margin: float) -> bool:
        """Whether a difference's whole interval lies within ± margin: what "equal" means here."""
        return -margin <= self.low and self.high <= margin

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of (image,) values with a percentile-bootstrap 95 % interval; the same for the same seed.

    Raises:
        DataError: without values, or if one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"an interval needs finite values of at least one image; got shape {values.shape}")
    means = np.concatenate([values[draws].mean(1) for draws in _draws(values.size, seed, resamples)])
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), int(values.size))


def bootstrap_sums(
    values: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A score of summed counts (mIoU, say) with a percentile-bootstrap 95 % interval over images.

    Args:
        values: (image, ...) counts that add over images.
        score: from sums (resample, ...) to (resample,). A difference of two methods on the same images is a score as
            well: put their counts side by side.
        seed, resamples: of the bootstrap.

    Raises:
        DataError: without images.
    """
    values = np.asarray(values)
    if values.ndim < 2 or values.shape[0] == 0:
        raise DataError(f"an interval needs counts of at least one image; got shape {values.shape}")
    flat = values.reshape(values.shape[0], -1).astype(np.float64)
    scores = []
    for draws in _draws(values.shape[0], seed, resamples):
        times = np.stack([np.bincount(row, minlength=values.shape[0]) for row in draws])
        scores.append(score((times @ flat).reshape(-1, *values.shape[1:])))
    low, high = np.nanpercentile(np.concatenate(scores), [2.5, 97.5])
    whole = float(score(flat.sum(0).reshape(1, *values.shape[1:]))[0])
    return Interval(whole, float(low), float(high), int(values.shape[0]))


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Resampled image numbers (resample, image), a few resamples at a time; the same however they are cut."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        yield generator.integers(0, count, size=(min(rows, resamples - start), count))
