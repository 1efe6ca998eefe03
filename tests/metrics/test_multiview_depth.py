"""Robust MVD metric: closed forms, alignment, resizing against scipy, fusion, the oracle's choice."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from codistill.errors import ConfigError
from codistill.metrics.multiview_depth import (
    DepthScores,
    align_depth,
    best_growing_set,
    depth_scores,
    fuse_depths,
    median,
    resize_nearest,
)


def some_truth() -> torch.Tensor:
    truth = 1 + 4 * torch.rand(12, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth[:2] = 0.0
    return truth


def test_any_scale_is_perfect_after_median_alignment() -> None:
    truth = some_truth()
    scores = depth_scores(3.7 * truth, truth)
    assert scores.relative == pytest.approx(0.0, abs=1e-10) and scores.inliers == 100.0


@pytest.mark.parametrize(
    ("factor", "relative", "inliers"), [(1.02, 2.0, 100.0), (1.04, 4.0, 0.0), (0.96, 4.0, 0.0)]
)
def test_unaligned_factors(factor: float, relative: float, inliers: float) -> None:
    scores = depth_scores(factor * some_truth(), some_truth(), alignment="none")
    assert scores.relative == pytest.approx(relative) and scores.inliers == inliers


def test_a_missing_prediction_is_an_outlier_even_after_clipping() -> None:
    truth = torch.ones(10, 10)
    prediction = truth.clone()
    prediction[:3] = 0.0
    scores = depth_scores(prediction, truth, alignment="none")
    assert scores.relative == pytest.approx(30.0) and scores.inliers == pytest.approx(70.0)


def test_clipping_acts_on_the_aligned_depth() -> None:
    truth = torch.full((4, 4), 50.0)
    assert depth_scores(torch.full((4, 4), 0.05), truth).inliers == 100.0
    far = torch.full((4, 4), 500.0)
    assert depth_scores(far, truth, alignment="none").relative == pytest.approx(100.0)
    assert depth_scores(far, truth, alignment="none", clip=None).relative == pytest.approx(900.0)


def test_inverse_least_squares_undoes_scale_and_shift_of_the_inverse() -> None:
    truth = some_truth()
    distorted = torch.where(truth > 0, 1.0 / (0.4 / truth.clamp(min=1e-3) + 0.3), 1.0)
    scores = depth_scores(distorted, truth, alignment="inverse_least_squares")
    assert scores.relative == pytest.approx(0.0, abs=1e-8)
    known = truth > 0
    fit = np.polyfit(1 / distorted[known].numpy(), 1 / truth[known].numpy(), 1)
    aligned = align_depth(distorted, truth, "inverse_least_squares")
    np.testing.assert_allclose(1 / aligned.numpy(), np.polyval(fit, 1 / distorted.numpy()), rtol=1e-8)


@pytest.mark.parametrize("size", [(24, 32), (6, 8), (7, 19), (12, 16)])
def test_resizing_takes_the_nearest_pixel_centre(size: tuple[int, int]) -> None:
    values = some_truth()
    factors = (size[0] / 12, size[1] / 16)
    expected = zoom(values.numpy(), factors, order=0, grid_mode=True, mode="nearest")
    found = resize_nearest(values, size)
    assert found.shape == size
    # Where a centre falls exactly between two pixels, either is right.
    y, x = ((np.arange(n) + 0.5) / f - 0.5 for n, f in zip(size, factors, strict=True))
    exact = np.ix_(*(~np.isclose(np.abs(c - np.round(c)), 0.5) for c in (y, x)))
    np.testing.assert_array_equal(found.numpy()[exact], expected[exact])


def test_fusion_weighs_by_confidence_at_the_first_scale() -> None:
    truth = some_truth()[2:]
    depths = torch.stack((truth, 2.5 * truth, 0.1 * truth))
    confidences = torch.rand_like(depths) + 0.1
    torch.testing.assert_close(fuse_depths(depths, confidences), truth)
    # By hand: two pairs of one scale that disagree in one pixel.
    a, b = torch.full((3, 3), 2.0), torch.full((3, 3), 2.0)
    b[0, 0] = 4.0
    weights = torch.stack((torch.full((3, 3), 1.0), torch.full((3, 3), 3.0)))
    fused = fuse_depths(torch.stack((a, b)), weights)
    assert float(fused[0, 0]) == pytest.approx(3.5) and float(fused[1, 1]) == 2.0


def test_fusion_without_a_prediction() -> None:
    depths = torch.ones(2, 2, 2)
    depths[0, 0, 0], depths[1, 0, 0], depths[1, 1, 1] = 0.0, torch.nan, torch.inf
    fused = fuse_depths(depths, torch.ones_like(depths))
    assert fused[0, 0] == 0.0 and fused[1, 1] == 1.0
    assert not fuse_depths(torch.zeros(2, 2, 2), torch.ones(2, 2, 2)).any()
    behind = torch.stack((torch.full((2, 2), -1.0), torch.full((2, 2), 3.0), torch.full((2, 2), 6.0)))
    assert (fuse_depths(behind, torch.ones(3, 2, 2)) == 3.0).all()  # the first that predicts gives the scale


def test_the_best_set_of_sources_is_found_and_may_be_a_single_one() -> None:
    alone = {0: 5.0, 1: 2.0, 2: 3.0}
    together = {(1, 2): 1.5, (1, 2, 0): 4.0}

    def predict(sources: tuple[int, ...]) -> DepthScores:
        return DepthScores(alone[sources[0]] if len(sources) == 1 else together[sources], 50.0)

    assert best_growing_set((1, 2, 0), predict) == (DepthScores(1.5, 50.0), (1, 2))
    assert best_growing_set((1,), predict)[1] == (1,)
    together[(1, 2)] = 2.0
    assert best_growing_set((1, 2, 0), predict)[1] == (1,)  # as good as the larger set
    with pytest.raises(ValueError, match="at least one source view"):
        best_growing_set((), predict)


def test_median_is_numpys() -> None:
    values = torch.rand(10, dtype=torch.float64)
    assert float(median(values)) == pytest.approx(np.median(values.numpy()))
    assert float(median(values[:7])) == pytest.approx(np.median(values[:7].numpy()))
    assert math.isnan(float(median(values[:0])))


def test_no_truth_and_unknown_alignment() -> None:
    assert math.isnan(depth_scores(torch.ones(2, 2), torch.zeros(2, 2)).relative)
    with pytest.raises(ConfigError, match=r"'medain'. Did you mean 'median'"):
        depth_scores(torch.ones(2, 2), torch.ones(2, 2), alignment="medain")  # type: ignore[arg-type]
