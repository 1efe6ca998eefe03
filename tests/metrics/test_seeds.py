"""Scores over seeds against loops written out, and against the variances that a crossed design has."""

import numpy as np
import pytest

from codistill.errors import DataError
from codistill.metrics.interval import Resampled, bootstrap_mean, resample_mean
from codistill.metrics.seeds import over_seeds


def crossed(seeds: int, images: int, *, between_seeds: float, between_images: float) -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.normal(0, between_seeds, (seeds, 1)) + rng.normal(0, between_images, (1, images))


def test_one_seed_has_the_interval_of_its_images() -> None:
    values = np.random.default_rng(0).normal(5, 1, 80)
    found, alone = over_seeds([resample_mean(values)]), bootstrap_mean(values)
    assert (found.mean, found.low, found.high) == (alone.mean, alone.low, alone.high)


def test_every_resample_is_what_loops_give() -> None:
    values = np.random.default_rng(1).random((3, 20))
    found = over_seeds([resample_mean(row, resamples=50) for row in values], seed=9)
    images = np.random.default_rng(0).integers(0, 20, (50, 20))
    seeds = np.random.default_rng(9).integers(0, 3, (3, 50))
    scores = []
    for draw in range(50):
        scored = [np.mean([values[seed, image] for image in images[draw]]) for seed in range(3)]
        chosen = np.mean([scored[seeds[place, draw]] for place in range(3)])
        scores.append(np.mean(scored) + np.sqrt(1.5) * (chosen - np.mean(scored)))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))
    assert found.mean == pytest.approx(values.mean()) and found.values == pytest.approx(values.mean(1))


@pytest.mark.parametrize(("between_seeds", "between_images"), [(1.0, 0.0), (0.0, 3.0), (1.0, 6.0)])
def test_its_width_is_that_of_both_variances(between_seeds: float, between_images: float) -> None:
    seeds, images = 12, 150
    values = crossed(seeds, images, between_seeds=between_seeds, between_images=between_images)
    found = over_seeds([resample_mean(row) for row in values])
    variance = values.mean(1).var(ddof=1) / seeds + values.mean(0).var() / images
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.08)


def test_a_difference_that_is_clear_has_a_small_p_and_none_has_a_large_one() -> None:
    rng = np.random.default_rng(2)
    clear = over_seeds([resample_mean(rng.normal(1.0, 0.5, 200)) for _ in range(3)])
    none = over_seeds([resample_mean(rng.normal(0.0, 0.5, 200)) for _ in range(3)])
    assert clear.p is not None and none.p is not None
    assert clear.p < 0.002 and none.p > 0.05
    assert over_seeds([resample_mean(np.zeros(9))] * 2).p == 1.0


def test_infinite_medians_and_single_groups_have_what_can_be_said() -> None:
    draws = np.array([1.0, 2.0, np.inf])
    found = over_seeds([Resampled(1.5, draws, 3, 3, between=False)] * 2)
    assert found.high == np.inf and found.low == 1.0
    one_group = over_seeds([Resampled(1.5, draws[:2], 3, 1, known=False)] * 2)
    assert (one_group.low, one_group.high, one_group.p) == (None, None, None)


def test_seeds_must_have_the_same_images() -> None:
    with pytest.raises(DataError, match="the same images"):
        over_seeds([resample_mean(np.ones(4)), resample_mean(np.ones(5))])
    with pytest.raises(DataError, match="one seed at least"):
        over_seeds([])
