import numpy as np
import pytest

from codistill.errors import DataError
from codistill.metrics import interval
from codistill.metrics.interval import Interval, bootstrap_mean, bootstrap_sums
from codistill.metrics.segmentation import mean_iou


def test_the_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    found = bootstrap_mean(values)
    error = values.std() / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_score_of_sums_equals_resampling_the_images_themselves():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 50, size=(30, 3, 4))
    counts[:, 1:] += counts[:, :1]
    found = bootstrap_sums(counts, mean_iou, seed=5, resamples=200)
    draws = np.random.default_rng(5).integers(0, 30, size=(200, 30))
    scores = [float(mean_iou(counts[row].sum(0))) for row in draws]
    assert found.mean == pytest.approx(float(mean_iou(counts.sum(0))))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))


def test_it_does_not_matter_how_many_resamples_are_held_at_a_time(monkeypatch):
    values = np.random.default_rng(0).random(37)
    whole = bootstrap_mean(values, resamples=300)
    monkeypatch.setattr(interval, "_CHUNK", 37 * 11)
    assert bootstrap_mean(values, resamples=300) == whole


def test_better_and_equal_are_said_of_whole_intervals():
    assert Interval(3.0, 2.5, 3.5, 9).above(Interval(2.0, 1.5, 2.4, 9))
    assert not Interval(3.0, 2.3, 3.5, 9).above(Interval(2.0, 1.5, 2.4, 9))
    assert Interval(0.1, -0.4, 0.5, 9).within(0.5) and not Interval(0.1, -0.4, 0.6, 9).within(0.5)


def test_it_needs_images_and_numbers():
    with pytest.raises(DataError, match="at least one image"):
        bootstrap_sums(np.zeros((0, 3)), lambda sums: sums[:, 0])
    with pytest.raises(DataError, match="finite values"):
        bootstrap_mean(np.array([1.0, np.nan]))
