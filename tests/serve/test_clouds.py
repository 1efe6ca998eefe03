"""Quantized points: how far they move, and which are left out."""

import numpy as np

from codistill.serve.clouds import on_surfaces, quantize, without_outliers


def test_points_move_by_half_a_step_at_most() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32) * [1, 10, 100]
    cloud = quantize(points)
    back = np.asarray(cloud.low) + cloud.values * np.asarray(cloud.step)
    span = points.max(axis=0) - points.min(axis=0)
    assert (np.abs(back - points).max(axis=0) <= span / 65535 * 0.51).all()


def test_a_body_far_away_in_single_precision() -> None:
    points = np.random.default_rng(2).uniform(-0.9, 0.9, size=(500, 3)).astype(np.float32)
    points += np.float32([3, -1, 40])
    cloud = quantize(points)
    back = np.asarray(cloud.low) + cloud.values * np.asarray(cloud.step)
    assert np.abs(back - points).max() < 2e-5  # 1.8 m in 65535 steps
    assert cloud.values.flags.c_contiguous and cloud.values.max() == 65535 and cloud.values.min() == 0


def test_no_points_and_one_point() -> None:
    assert quantize(np.zeros((0, 3), np.float32)).values.shape == (0, 3)
    one = quantize(np.array([[1.0, 2, 3]], np.float32))
    assert one.low == (1.0, 2.0, 3.0)
    assert not one.values.any()


def test_points_between_surfaces_are_left_out() -> None:
    depth = np.concatenate([np.full(10, 2.0), [2.5, 3.1], np.full(10, 4.0), np.linspace(4.0, 4.2, 10)])
    points = np.stack([np.arange(len(depth)), np.zeros(len(depth)), depth], axis=1)
    kept = on_surfaces(points)
    assert kept[:9].all() and not kept[9:13].any() and kept[13:].all()


def test_far_and_unknown_points_are_left_out() -> None:
    points = np.random.default_rng(1).uniform(0, 1, size=(3000, 3)).astype(np.float32)
    points[5], points[9, 1] = 400.0, np.nan
    kept = without_outliers(points)
    assert not kept[5] and not kept[9]
    assert kept.sum() == 2998
    assert not without_outliers(np.full((4, 3), np.nan)).any()
