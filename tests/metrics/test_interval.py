import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.errors import DataError
from codistill.metrics import interval
from codistill.metrics.interval import Interval, bootstrap_mean, bootstrap_times, medians, resample_sums
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
    found = resample_sums(counts, mean_iou, seed=5, resamples=200).interval()
    draws = np.random.default_rng(5).integers(0, 30, size=(200, 30))
    scores = [float(mean_iou(counts[row].sum(0))) for row in draws]
    assert found.mean == pytest.approx(float(mean_iou(counts.sum(0))))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))


def test_it_does_not_matter_how_many_resamples_are_held_at_a_time(monkeypatch):
    values = np.random.default_rng(0).random(37)
    whole = bootstrap_mean(values, resamples=300)
    monkeypatch.setattr(interval, "_CHUNK", 37 * 11)
    assert bootstrap_mean(values, resamples=300) == whole


def test_equal_is_said_of_the_whole_interval():
    assert Interval(0.1, -0.4, 0.5, 9, 9).within(0.5) and not Interval(0.1, -0.4, 0.6, 9, 9).within(0.5)


def test_it_needs_images_and_numbers():
    with pytest.raises(DataError, match="at least one image"):
        resample_sums(np.zeros((0, 3)), lambda sums: sums[:, 0])
    with pytest.raises(DataError, match="finite values"):
        bootstrap_mean(np.array([1.0, np.nan]))


def in_rooms(rooms: int, seed: int, noise: float = 0.3) -> tuple[np.ndarray, list[str]]:
    """Two pictures of every room, alike."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=rooms).repeat(2)
    return level + noise * rng.normal(size=2 * rooms), [f"room {index // 2}" for index in range(2 * rooms)]


def test_groups_of_equal_size_are_resampled_as_their_means_would_be():
    values, rooms = in_rooms(60, 4)
    found, means = bootstrap_mean(values, rooms), bootstrap_mean(values.reshape(-1, 2).mean(1))
    assert (found.low, found.high) == pytest.approx((means.low, means.high))
    assert (found.count, found.groups) == (120, 60)
    alone = bootstrap_mean(values)
    assert (found.high - found.low) > 1.25 * (alone.high - alone.low)  # type: ignore[operator]


def test_the_interval_covers_what_it_promises_where_pictures_share_rooms():
    covered = {"rooms": 0, "pictures": 0}
    for seed in range(200):
        values, rooms = in_rooms(40, seed)
        for name, groups in (("rooms", rooms), ("pictures", None)):
            found = bootstrap_mean(values, groups, seed=seed, resamples=300)
            covered[name] += found.low <= 0.0 <= found.high  # type: ignore[operator]
    assert covered["rooms"] >= 180 and covered["pictures"] < 178


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    seed=st.integers(0, 10_000),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=15, deadline=None)
def test_means_sums_and_times_resample_the_same_groups(sizes, seed, order):
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    order.shuffle(groups)
    values = np.random.default_rng(seed).normal(size=len(groups))
    mean = bootstrap_mean(values, groups, seed=seed, resamples=50)
    counts = np.stack((values, np.ones(len(values))), axis=1)
    sums = resample_sums(counts, lambda s: s[:, 0] / s[:, 1], groups, seed=seed, resamples=50).interval()
    drawn = np.concatenate(list(bootstrap_times(len(groups), groups, seed=seed, resamples=50)))
    rows = np.percentile([np.repeat(values, one).mean() for one in drawn], [2.5, 97.5])
    assert (mean.low, mean.high) == pytest.approx((sums.low, sums.high))
    assert (mean.low, mean.high) == pytest.approx(tuple(rows))
    assert mean.groups == sums.groups == len(sizes)
    for times in drawn:  # a group comes whole, or not at all
        assert all(len({times[i] for i in range(len(groups)) if groups[i] == g}) == 1 for g in set(groups))


@pytest.mark.parametrize("groups", [list("abacabbd"), None])
@pytest.mark.parametrize("chunk", [4_000_000, 24, 1])
def test_times_are_those_of_the_drawn_groups(groups, chunk, monkeypatch):
    monkeypatch.setattr(interval, "_CHUNK", chunk)
    names = groups or list(range(8))
    known = list(dict.fromkeys(names))
    draws = np.random.default_rng(3).integers(0, len(known), size=(20, len(known)))
    found = [*bootstrap_times(8, groups, seed=3, resamples=20)]
    assert (len(found) > 1) == (chunk < 160)
    for row, times in zip(draws, np.concatenate(found), strict=True):
        assert times.tolist() == [[known[group] for group in row].count(name) for name in names]


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_medians_are_those_of_repeated_values(size):
    rng = np.random.default_rng(size)
    values = rng.integers(0, 6, size).astype(float)
    values[values == 5] = np.inf
    times = rng.multinomial(size, np.full(size, 1 / size), size=30)
    expected = [np.median(np.repeat(values, one)) for one in times]
    np.testing.assert_array_equal(medians(values, times), expected)
    times = rng.integers(0, 4, (30, size)) + (np.arange(size) == 0)  # of any number
    np.testing.assert_array_equal(
        medians(values, times), [np.median(np.repeat(values, one)) for one in times]
    )


@pytest.mark.parametrize("groups", [["street"] * 28, None])
def test_one_group_or_one_sample_leaves_the_interval_unknown(groups):
    values = np.random.default_rng(0).random(28 if groups else 1)
    found = bootstrap_mean(values, groups)
    assert (found.low, found.high, found.groups) == (None, None, 1)
    assert str(found).endswith("[unknown]") and not found.within(1e9)
    sums = resample_sums(values[:, None], lambda s: s[:, 0], groups).interval()
    assert (sums.low, sums.high) == (None, None)
    json.dumps([asdict(found), asdict(sums)], allow_nan=False)


def test_every_sample_needs_a_group():
    with pytest.raises(DataError, match="got 2 groups of 3 samples"):
        bootstrap_mean(np.arange(3.0), ["a", "b"])
