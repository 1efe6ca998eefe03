"""Bootstrap confidence intervals: from numbers per image to a score with its 95 % interval, by resampling groups.

Two pictures of one room, frames of one camera and views of one object resemble each other. If they were resampled as
independent, intervals would be too narrow. So the caller names groups, which are drawn as a whole, with replacement. A
single group does not predict the score of the next one, so its interval is unknown.
Source: Field and Welsh, "Bootstrapping clustered data" (JRSS B, 2007), the cluster bootstrap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codistill.errors import DataError

RESAMPLES = 2000
FEW_GROUPS = 10
"""With fewer groups, intervals are rough and mostly too narrow; tables then show the number of groups."""
_CHUNK = 4_000_000  # draws in memory at once


@dataclass(frozen=True)
class Interval:
    """A score over images with its bootstrap confidence interval.

    Attributes:
        mean: mean of the values, or the score of all images.
        low, high: 2.5th and 97.5th percentile over resamples; None if they are unknown (one group, or one sample).
        count: number of images.
        groups: number of groups that were resampled.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    groups: int

    def within(self, margin: float) -> bool:
        """Whether a difference's whole interval lies within ± margin (defined as "equal"). False if it is unknown."""
        return self.low is not None and self.high is not None and -margin <= self.low and self.high <= margin

    def limits(self, digits: int = 3, between: str = ", ") -> str:
        """Both limits as text, e.g. `0.412, 0.538`, or `unknown`."""
        if self.low is None or self.high is None:
            return "unknown"
        return f"{self.low:.{digits}f}{between}{self.high:.{digits}f}"

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.limits()}]"


@dataclass(frozen=True)
class Resampled:
    """A score of all images and of every resample of their groups, from which an interval is computed.

    Scores of the same groups with the same seed have the same draws, so that they can be compared draw by draw.

    Attributes:
        whole: the score of all images.
        draws: scores of the resamples, (resample,).
        count, groups: number of images, and of groups that were resampled.
        known: whether there are enough groups for an interval.
        between: whether percentiles may be interpolated between two draws (not for a median, which may be infinite).
    """

    whole: float
    draws: np.ndarray
    count: int
    groups: int
    known: bool = True
    between: bool = True

    def interval(self) -> Interval:
        """The score with the 2.5th and 97.5th percentile of its draws."""
        low, high = percentiles(self.draws, between=self.between) if self.known else (None, None)
        return Interval(self.whole, low, high, self.count, self.groups)


def medians(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Medians of values (image,), of which image i is in resample r `times[r, i]` times; (resample,)."""
    order = np.argsort(values)
    until = np.cumsum(times[:, order], axis=1)  # images up to each value
    middle = until[:, -1:] - np.array([1, 0])  # twice the positions of the two values in the middle
    places = (until[:, None, :] > middle[:, :, None] // 2).argmax(-1)
    return values[order][places].mean(1)


def percentiles(draws: np.ndarray, *, between: bool = True) -> tuple[float | None, float | None]:
    """The 2.5th and 97.5th percentile of (resample,) scores without NaN; None if all are NaN."""
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return None, None
    low, high = np.percentile(draws, [2.5, 97.5], method="linear" if between else "nearest")
    return float(low), float(high)


def bootstrap_mean(
    values: np.ndarray, groups: Sequence[str] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean of (image,) values with a percentile-bootstrap 95 % interval; see `resample_mean`."""
    return resample_mean(values, groups, seed=seed, resamples=resamples).interval()


def resample_mean(
    values: np.ndarray, groups: Sequence[str] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> Resampled:
    """Mean of (image,) values, and of their resamples; deterministic in the seed.

    Args:
        values: values of the images.
        groups: the group of each image; None for images that are independent of each other.
        seed, resamples: seed and number of resamples of the bootstrap.

    Raises:
        DataError: without values, if one is not finite, or if the number of groups differs from that of the values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"an interval needs finite values of at least one image; got shape {values.shape}")
    numbers, count = group_numbers(groups, values.size)
    # In the mean of a resample every image has the same weight, so large groups count more.
    sums, sizes = np.bincount(numbers, values, count), np.bincount(numbers, minlength=count)
    means = [sums[draws].sum(1) / sizes[draws].sum(1) for draws in _draws(count, seed, resamples)]
    return Resampled(float(values.mean()), np.concatenate(means), int(values.size), count, count > 1)


def resample_sums(
    values: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """A score of summed counts (for example mIoU), and of its resamples.

    Args:
        values: (image, ...) counts that are summed over images.
        score: given sums (resample, ...), returns scores (resample,). For a difference of two methods on the same
            images, stack their counts.
        groups: see `resample_mean`.
        seed, resamples: seed and number of resamples of the bootstrap.

    Raises:
        DataError: without images, or if the number of groups differs from that of the images.
    """
    values = np.asarray(values)
    if values.ndim < 2 or values.shape[0] == 0:
        raise DataError(f"an interval needs counts of at least one image; got shape {values.shape}")
    numbers, count = group_numbers(groups, values.shape[0])
    flat = np.zeros((count, int(np.prod(values.shape[1:]))))
    np.add.at(flat, numbers, values.reshape(values.shape[0], -1))  # (group, count)
    scores = []
    for draws in _draws(count, seed, resamples):
        scores.append(score((_times(draws, count) @ flat).reshape(-1, *values.shape[1:])))
    whole = float(score(flat.sum(0).reshape(1, *values.shape[1:]))[0])
    return Resampled(whole, np.concatenate(scores), int(values.shape[0]), count, count > 1)


def bootstrap_times(
    size: int, groups: Sequence[str] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> Iterator[np.ndarray]:
    """How many times each image is in each resample, (resample, image), in chunks of resamples.

    For scores that are not a function of sums (medians, areas).
    """
    numbers, count = group_numbers(groups, size)
    for draws in _draws(count, seed, resamples):
        for part in np.array_split(draws, -(-len(draws) * size // _CHUNK)):  # several images of a group
            yield _times(part, count)[:, numbers]


def _times(draws: np.ndarray, count: int) -> np.ndarray:
    """How many times each of `count` groups was drawn, (resample, group)."""
    places = draws + count * np.arange(len(draws))[:, None]
    return np.bincount(places.ravel(), minlength=len(draws) * count).reshape(len(draws), count)


def group_numbers(groups: Sequence[str] | None, size: int) -> tuple[np.ndarray, int]:
    """Group number of each sample, by first appearance, and the number of groups.

    Raises:
        DataError: if the number of names differs from that of the samples.
    """
    if groups is None:
        return np.arange(size), size
    if len(groups) != size:
        raise DataError(f"every sample needs a group: got {len(groups)} groups of {size} samples")
    known: dict[str, int] = {}
    numbers = np.array([known.setdefault(name, len(known)) for name in groups], dtype=np.int64)
    return numbers, len(known)


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Resampled group numbers (resample, group), in chunks; the same for any chunk size."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        yield generator.integers(0, count, size=(min(rows, resamples - start), count))
