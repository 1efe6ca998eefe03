"""Shares of a pattern against the analysis of variance, loops over pairs, planted patterns and fresh images."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.metrics.fixed_pattern import pattern_parts
from codistill.metrics.interval import resample_sums

IMAGES, PATCHES, CHANNELS = 12, 6, 4


def tokens(images: int = IMAGES, seed: int = 0, pattern: float = 0.0) -> Tensor:
    """Noise of deviation 1 with a mean for each image, and a pattern whose squared length is `pattern` a token."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(PATCHES, CHANNELS, generator=torch.Generator().manual_seed(99))
    shape = shape - shape.mean(0)
    shape = shape * math.sqrt(pattern / shape.square().sum(1).mean())
    means = 2.0 * torch.randn(images, 1, CHANNELS, generator=generator)
    return torch.randn(images, PATCHES, CHANNELS, generator=generator) + means + shape + 5.0


def variance_of_positions(x: np.ndarray) -> float:
    """Of the mean over images, without what chance gives to it: a two-way analysis of variance."""
    images, patches, _ = x.shape
    centre, by_image, by_place = x.mean((0, 1)), x.mean(1), x.mean(0)
    rest = 0.0
    for i in range(images):
        for p in range(patches):
            rest += ((x[i, p] - by_image[i] - by_place[p] + centre) ** 2).sum()
    rest /= (images - 1) * (patches - 1)
    between = sum(((by_place[p] - centre) ** 2).sum() for p in range(patches)) / patches
    return between - rest * (patches - 1) / (patches * images)


@pytest.mark.parametrize("pattern", [0.0, 1.0])
def test_means_are_those_of_the_analysis_of_variance(pattern: float) -> None:
    x = tokens(pattern=pattern)
    found = pattern_parts(x)
    wide = x.double().numpy()
    assert found.explained.mean().item() == pytest.approx(variance_of_positions(wide), abs=1e-9)
    assert found.total.mean().item() == pytest.approx(wide.var((0, 1)).sum())
    one_by_one = ((wide - wide.mean((0, 1))) ** 2).sum(-1).mean(1)
    np.testing.assert_allclose(found.total, one_by_one)


def test_pairs_of_one_group_do_not_count() -> None:
    x, groups = tokens(), [*"aabbbcdefffg"]
    wide = x.double().numpy()
    centred = wide - wide.mean(1, keepdims=True)
    products = [
        (centred[i] * centred[j]).sum() / PATCHES
        for i in range(IMAGES)
        for j in range(IMAGES)
        if groups[i] != groups[j]
    ]
    assert pattern_parts(x, groups).explained.mean().item() == pytest.approx(np.mean(products))
    twice = torch.cat((x, x))  # copies would be a pattern
    names = [*map(str, range(IMAGES))] * 2
    alone = pattern_parts(x).explained.mean().item()
    assert pattern_parts(twice, names).explained.mean().item() == pytest.approx(alone)
    assert pattern_parts(twice).explained.mean().item() > alone + 0.1


def test_without_a_pattern_nothing_is_found_and_a_planted_one_has_its_share() -> None:
    for pattern in (0.0, 0.5, 4.0):
        means = [pattern_parts(tokens(seed=seed, pattern=pattern)).explained.mean() for seed in range(100)]
        error = torch.stack(means).std().item() / math.sqrt(100)
        assert torch.stack(means).mean().item() == pytest.approx(pattern, abs=4 * error)


def test_resampled_scores_spread_as_those_of_fresh_images() -> None:
    """The pseudo-values' factor two: without it the spread is half of what it should be."""

    def drawn(seed: int, resampled: bool) -> float:
        parts = pattern_parts(tokens(60, seed, 2.0))
        both = torch.stack((parts.explained, parts.total), dim=1).numpy()
        if not resampled:
            return float(both[:, 0].mean() / both[:, 1].mean())
        found = resample_sums(both, lambda sums: sums[:, 0] / sums[:, 1], resamples=400)
        assert found.whole == pytest.approx(both[:, 0].mean() / both[:, 1].mean())
        return float(found.draws.std())

    fresh = np.std([drawn(seed, False) for seed in range(300)])
    spread = np.mean([drawn(seed, True) for seed in range(25)])
    assert spread == pytest.approx(fresh, rel=0.15)


def test_there_is_no_pattern_of_one_image_one_group_or_one_patch() -> None:
    assert pattern_parts(tokens(1)).explained.isnan().all()
    assert pattern_parts(tokens(3), ["a"] * 3).explained.isnan().all()
    assert pattern_parts(tokens()[:, :1]).explained.isnan().all()
    assert pattern_parts(tokens(1)).total.isfinite().all()
