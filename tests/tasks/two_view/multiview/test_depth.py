from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from codistill.tasks.two_view.multiview.evaluate_depth import DepthProtocol, evaluate_depth
from hilly_scene import hilly_pair, hilly_views, oracle, write_sample
from pair_toys import OraclePredictor

from codistill.errors import ConfigError, DataError
from codistill.geometry.cameras import ImageFit
from codistill.metrics.multiview_depth import resize_nearest
from codistill.tasks.two_view.multiview.data import PairSet, open_views
from codistill.tasks.two_view.multiview.predict import in_original


@pytest.fixture(scope="module")
def views():
    return hilly_views()


@pytest.fixture
def data(views, tmp_path):
    write_sample(tmp_path / "test" / "s", views, keys=(1,))
    return open_views(f"multiview:{tmp_path}", "test")


@dataclass
class Spoiled(OraclePredictor):
    """An oracle whose depth is wrong beside one source, and surest there."""

    def __init__(self, views, bad):
        super().__init__(views)
        self.bad = bad.image.tobytes()

    def __call__(self, image_a, image_b):
        pair = super().__call__(image_a, image_b)
        if image_b.tobytes() != self.bad:
            return pair
        slope = torch.linspace(0.7, 1.3, pair.a.points.shape[2])[None, None, :, None]
        return replace(pair, a=replace(pair.a, points=pair.a.points * slope))


def test_perfect_pairs_of_any_scale_are_perfect_after_alignment(views, data):
    result = evaluate_depth(oracle(views, [0.5, 3.0, 1.0]), data, DepthProtocol(pictures=1))
    relative, inliers, relative_all, inliers_all = result.sums[0]
    assert relative < 0.02 and relative_all < 0.02  # depth files are rounded to millimetres
    assert inliers == inliers_all == 100.0
    assert [picture.shape for picture in result.pictures[0]] == [views[0].image.shape] * 3


@pytest.mark.parametrize(("scale", "relative", "inliers"), [(1.02, 2.0, 100.0), (1.04, 4.0, 0.0)])
def test_unaligned_scale_errors_are_what_they_are(views, data, scale, relative, inliers):
    result = evaluate_depth(oracle(views, [scale]), data, DepthProtocol(alignment="none"))
    assert result.sums[0, 0] == pytest.approx(relative, abs=0.02) and result.sums[0, 1] == inliers


def test_a_bad_source_is_left_out_by_its_error_and_not_by_its_place(views, data):
    # The key is view 1: views 0 and 2 are nearest, and view 0 misleads.
    predictor = Spoiled(views, views[0])
    best = evaluate_depth(predictor, data, DepthProtocol())
    near = evaluate_depth(predictor, data, DepthProtocol(order="nearest"))
    assert best.sums[0, 0] < 0.02 and best.details["sources_used"][0] <= 2
    assert near.details["sources_used"][0] == 3  # the mean over three sources dilutes the first one most
    assert 2.0 < near.sums[0, 0] == pytest.approx(best.sums[0, 2])
    one = evaluate_depth(predictor, data, DepthProtocol(order="nearest", most=1))
    assert one.sums[0, 0] == pytest.approx(one.sums[0, 2]) and one.sums[0, 0] > 2 * near.sums[0, 0]


class Inverse(OraclePredictor):
    """An oracle whose inverse depth is scaled and shifted."""

    def __call__(self, image_a, image_b):
        pair = super().__call__(image_a, image_b)
        z = pair.a.points[..., 2:]
        return replace(pair, a=replace(pair.a, points=pair.a.points / (2.0 + 0.3 * z)))


def test_scale_and_shift_of_inverse_depth_are_removed_where_asked_for(views, data):
    fitted, median = (
        evaluate_depth(Inverse(views), data, DepthProtocol(alignment=alignment)).sums[0]
        for alignment in ("inverse_least_squares", "median")
    )
    assert fitted[0] < 0.05 < 2.0 < median[0] and fitted[1] == 100.0


def test_points_behind_the_camera_are_wrong_and_not_perfect():
    sample = hilly_pair()
    result = evaluate_depth(oracle([sample.read(0), sample.read(1)], [-1.0]), [sample], DepthProtocol())
    np.testing.assert_array_equal(result.sums[0], [100, 0, 100, 0])


def test_a_key_without_known_depth_is_refused():
    pair = hilly_pair().pair
    sky = replace(pair.first, depth=np.full_like(pair.first.depth, np.inf))
    with pytest.raises(DataError, match="v0: no depth of this key view is known"):
        evaluate_depth(oracle([sky, pair.second]), [PairSet(replace(pair, first=sky))], DepthProtocol())


def test_protocols_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"order of sources 'nearst'\. Did you mean 'nearest'"):
        DepthProtocol(order="nearst")
    with pytest.raises(ConfigError, match=r"alignment 'mean'"):
        DepthProtocol(alignment="mean")
    with pytest.raises(ConfigError, match="1 or more; got 0"):
        DepthProtocol(most=0)


def test_without_a_crop_values_go_to_the_original_by_nearest_centres():
    values = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
    for original in ((9, 13), (4, 5), (18, 24)):
        fit = ImageFit(original=original, resized=(6, 8), cropped=(6, 8), left=0, top=0)
        torch.testing.assert_close(in_original(values, fit), resize_nearest(values, original))


def test_a_cropped_margin_takes_the_nearest_value():
    fit = ImageFit(original=(4, 6), resized=(4, 6), cropped=(2, 4), left=1, top=1)
    values = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    expected = torch.tensor(
        [[1.0, 1, 2, 3, 4, 4], [1, 1, 2, 3, 4, 4], [5, 5, 6, 7, 8, 8], [5, 5, 6, 7, 8, 8]]
    )
    torch.testing.assert_close(in_original(values, fit), expected)
