import numpy as np
import pytest

from codistill.errors import ConfigError
from codistill.render.materials import Material
from codistill.render.noise import CELLS_PER_UNIT, SIZE, noise, noise_gradient
from codistill.render.patterns import PATTERNS, evaluate_pattern


def test_noise_repeats_after_its_block_and_has_the_gradient_of_finite_differences():
    points = np.random.default_rng(0).random((4000, 3)).astype(np.float32) * 3
    np.testing.assert_allclose(noise(points), noise(points + np.float32(SIZE / CELLS_PER_UNIT)), atol=2e-3)
    slopes, step = noise_gradient(points), np.float32(0.02)
    for axis in range(3):
        offset = np.eye(3, dtype=np.float32)[axis] * step
        difference = (noise(points + offset) - noise(points - offset)) / (2 * step)
        assert np.corrcoef(difference, slopes[:, axis])[0, 1] > 0.93


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_keep_their_range_and_their_stated_mean(name):
    points = np.random.default_rng(1).uniform(0, 60, (60_000, 3)).astype(np.float32)
    fine = np.full(len(points), 0.01, np.float32)
    values = evaluate_pattern(name, points, points[:, :2].copy(), fine)
    assert values.min() > -0.1
    assert values.max() < 1.1
    assert abs(values.mean() - PATTERNS[name].mean) < 0.04


def test_a_pattern_finer_than_a_pixel_is_its_mean():
    points = np.random.default_rng(2).uniform(0, 60, (1000, 3)).astype(np.float32)
    values = evaluate_pattern("checks", points, points[:, :2].copy(), np.full(1000, 2.0, np.float32))
    np.testing.assert_allclose(values, 0.5)


def test_some_families_are_kept_from_training():
    held_out = [name for name, pattern in PATTERNS.items() if pattern.held_out]
    assert len(held_out) >= 3
    assert len(PATTERNS) - len(held_out) >= 8


def test_an_unknown_pattern_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'stripes'"):
        Material(first=(0.5, 0.5, 0.5), pattern="stripe")
