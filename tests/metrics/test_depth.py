import math

import pytest
import torch

from codistill.errors import DataError
from codistill.metrics.depth import DEPTH_METRICS, NYU_EIGEN_CROP, depth_scores, valid_depth


def slow_scores(prediction: list[float], truth: list[float]) -> dict[str, float]:
    """The formulas, pixel by pixel, in plain Python."""
    pairs = list(zip(prediction, truth, strict=True))
    n = len(pairs)
    e = [math.log(p) - math.log(t) for p, t in pairs]
    scores = {f"a{k}": sum(max(p / t, t / p) < 1.25**k for p, t in pairs) / n for k in (1, 2, 3)}
    scores["abs_rel"] = sum(abs(p - t) / t for p, t in pairs) / n
    scores["sq_rel"] = sum((p - t) ** 2 / t for p, t in pairs) / n
    scores["rmse"] = math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n)
    scores["rmse_log"] = math.sqrt(sum(x * x for x in e) / n)
    scores["log10"] = sum(abs(math.log10(p) - math.log10(t)) for p, t in pairs) / n
    scores["silog"] = 100 * math.sqrt(sum(x * x for x in e) / n - (sum(e) / n) ** 2)
    return scores


def test_scores_equal_the_formulas_written_out():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 6, 7, generator=generator) * 12
    truth[0, 0] = 0.0
    prediction = truth * (0.5 + torch.rand(truth.shape, generator=generator)) + 0.01
    mask = valid_depth(truth)
    found = depth_scores(prediction, truth, mask)
    for image in range(3):
        expected = slow_scores(prediction[image][mask[image]].tolist(), truth[image][mask[image]].tolist())
        for name, value in zip(DEPTH_METRICS, found[image].tolist(), strict=True):
            assert value == pytest.approx(expected[name], rel=1e-5), name


def test_what_lies_outside_the_eigen_crop_changes_nothing():
    truth = torch.full((1, 480, 640), 2.0)
    prediction = torch.full((1, 480, 640), 2.5)
    mask = valid_depth(truth, crop=NYU_EIGEN_CROP)
    assert int(mask.sum()) == (471 - 45) * (601 - 41)
    before = depth_scores(prediction, truth, mask)
    truth[:, :45], truth[:, 471:], truth[:, :, :41], truth[:, :, 601:] = 9.0, 9.0, 9.0, 9.0
    assert torch.equal(depth_scores(prediction, truth, valid_depth(truth, crop=NYU_EIGEN_CROP)), before)
    truth[:, 45, 41] = 9.0
    assert not torch.equal(depth_scores(prediction, truth, valid_depth(truth, crop=NYU_EIGEN_CROP)), before)


def test_the_limits_are_exclusive_and_sky_is_not_scored():
    truth = torch.tensor([[1e-3, 0.5, 10.0, torch.inf, torch.nan]])
    assert valid_depth(truth).tolist() == [[False, True, False, False, False]]
    scores = depth_scores(torch.ones(1, 1, 5), truth[None], valid_depth(truth)[None])
    assert scores[0, DEPTH_METRICS.index("rmse")] == 0.5


def test_an_image_without_truth_is_nan_and_leaves_the_others_alone():
    truth = torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]]])
    scores = depth_scores(torch.ones(2, 1, 2), truth, valid_depth(truth))
    assert scores[0].isnan().all() and scores[1].isfinite().all()


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match="480x640"):
        valid_depth(torch.ones(224, 224), crop=NYU_EIGEN_CROP)
    with pytest.raises(DataError, match="must have one shape"):
        depth_scores(torch.ones(1, 2, 2), torch.ones(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.bool))
