"""Bootstrap intervals: one number per image in, mean and 95 % interval out. Images are the unit of resampling."""

from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over images with its bootstrap interval.

    Attributes:
        mean: of the values.
        low, high: 2.5th and 97.5th percentile of the resampled means.
        count: number of images.
    """

    mean: float
    low: float
    high: float
    count: int

    def above(self, other: "Interval") -> bool:
        """Whether this is larger and the intervals do not overlap: what "better" means here."""
        return self.low > other.high

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
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, values.size, size=(resamples, values.size))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), int(values.size))
