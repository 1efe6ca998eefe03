from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hilly_scene import hilly_pair, hilly_views, oracle
from pair_toys import OraclePredictor, write_views

from codistill.errors import ConfigError, DataError
from codistill.geometry.cameras import ImageFit
from codistill.metrics.multiview_depth import resize_nearest
from codistill.tasks.evaluation import evaluate
from codistill.tasks.layout import TaskData
from codistill.tasks.opening import open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.two_view.multiview.data import LAYOUTS, PairSet
from codistill.tasks.two_view.multiview.depth import TASK, MultiviewDepthTest
from codistill.tasks.two_view.multiview.predict import in_original


@pytest.fixture(scope="module")
def views():
    return hilly_views()


@pytest.fixture
def data(views, tmp_path):
    write_views(tmp_path / "test" / "s", views, keys=(1,))
    return open_split(LAYOUTS, f"multiview:{tmp_path}", "test").samples


def measured(predictor, samples, pictures=0, **options):
    """Scores (sample, 4) in percent, sources used, and pictures."""
    test, data = MultiviewDepthTest(**options), TaskData(spec="toy:x", split="test", samples=samples)
    found = evaluate(
        TASK, TASK.score(predictor, data, test, Runtime(out=Path())), data, test, pictures=pictures
    )
    return found.table.values["scores"], found.table.values["sources_used"], found.pictures


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
    scores, _, pictures = measured(oracle(views, [0.5, 3.0, 1.0]), data, pictures=1)
    relative, inliers, relative_all, inliers_all = scores[0]
    assert relative < 0.02 and relative_all < 0.02  # depth files are rounded to millimetres
    assert inliers == inliers_all == 100.0
    assert [picture.shape for picture in pictures[0]] == [views[0].image.shape] * 3


@pytest.mark.parametrize(("scale", "relative", "inliers"), [(1.02, 2.0, 100.0), (1.04, 4.0, 0.0)])
def test_unaligned_scale_errors_are_what_they_are(views, data, scale, relative, inliers):
    scores, _, _ = measured(oracle(views, [scale]), data, alignment="none")
    assert scores[0, 0] == pytest.approx(relative, abs=0.02) and scores[0, 1] == inliers


def test_a_bad_source_is_left_out_by_its_error_and_not_by_its_place(views, data):
    # The key is view 1: views 0 and 2 are nearest, and view 0 misleads.
    predictor = Spoiled(views, views[0])
    best, used, _ = measured(predictor, data)
    assert best[0, 0] < 0.02 and used[0] <= 2
    near, used, _ = measured(predictor, data, sources="nearest")
    assert used[0] == 3  # the mean over three sources dilutes the first one most
    assert 2.0 < near[0, 0] == pytest.approx(best[0, 2])
    one, _, _ = measured(predictor, data, sources="nearest", max_sources=1)
    assert one[0, 0] == pytest.approx(one[0, 2]) and one[0, 0] > 2 * near[0, 0]


class Inverse(OraclePredictor):
    """An oracle whose inverse depth is scaled and shifted."""

    def __call__(self, image_a, image_b):
        pair = super().__call__(image_a, image_b)
        z = pair.a.points[..., 2:]
        return replace(pair, a=replace(pair.a, points=pair.a.points / (2.0 + 0.3 * z)))


def test_scale_and_shift_of_inverse_depth_are_removed_where_asked_for(views, data):
    fitted, median = (
        measured(Inverse(views), data, alignment=alignment)[0][0]
        for alignment in ("inverse_least_squares", "median")
    )
    assert fitted[0] < 0.05 < 2.0 < median[0] and fitted[1] == 100.0


def test_points_behind_the_camera_are_wrong_and_not_perfect():
    sample = hilly_pair()
    scores, _, _ = measured(oracle([sample.read(0), sample.read(1)], [-1.0]), [sample])
    np.testing.assert_array_equal(scores[0], [100, 0, 100, 0])


def test_a_key_without_known_depth_is_refused():
    pair = hilly_pair().pair
    sky = replace(pair.first, depth=np.full_like(pair.first.depth, np.inf))
    with pytest.raises(DataError, match="v0: no depth of this key view is known"):
        measured(oracle([sky, pair.second]), [PairSet(replace(pair, first=sky))])


def test_protocols_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"order of sources 'nearst'\. Did you mean 'nearest'"):
        MultiviewDepthTest(sources="nearst")
    with pytest.raises(ConfigError, match=r"alignment 'mean'"):
        MultiviewDepthTest(alignment="mean")
    with pytest.raises(ConfigError, match="1 or more; got 0"):
        MultiviewDepthTest(max_sources=0)


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
