import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from pair_toys import ENCODER, INTRINSICS, SHAPE, OraclePredictor, plane_pair

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError
from codistill.geometry.estimate import PoseEstimate
from codistill.heads.two_view.model import TwoViewModel
from codistill.heads.two_view.network import TwoViewHead
from codistill.tasks.two_view.decode import SOLVERS
from codistill.tasks.two_view.head import OpenedTwoView
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.relocalize.model import RelocalizationTest, head_locator


def _network(square_ok=True, descriptors=8):
    config = replace(SHAPE, descriptor_dim=descriptors).on(48, 14)
    torch.manual_seed(0)
    return OpenedTwoView(TwoViewModel(load_encoder(ENCODER), TwoViewHead(config)).eval(), 56, square_ok, {})


@pytest.mark.parametrize("solver", SOLVERS)
def test_perfect_predictions_give_the_true_pose(solver):
    pair = plane_pair()
    predictor = OraclePredictor([pair.first, pair.second])
    found = head_locator(predictor, RelocalizationTest(solver=solver)).locate(pair)
    turn = found.rotation @ pair.second_from_first[:3, :3].T
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    # Matches are whole pixels, half a degree wide; a plane leaves the essential matrix weakly determined.
    assert degrees < (3.0 if solver == "emat" else 0.5)
    assert np.linalg.norm(found.translation - pair.second_from_first[:3, 3]) < (
        0.15 if solver == "emat" else 0.03
    )
    assert found.confidence >= 6


@pytest.mark.parametrize(
    ("confidence", "length", "kept"), [(5, 1.0, False), (6, 1.0, True), (6, 2000.0, False)]
)
def test_weak_and_absurd_poses_are_no_estimates(monkeypatch, confidence, length, kept):
    pair = plane_pair()
    predictor = OraclePredictor([pair.first, pair.second])
    found = PoseEstimate(np.eye(3), np.array([length, 0, 0]), np.zeros(0, dtype=bool), confidence)
    monkeypatch.setattr(predictor, "pose", lambda *_, **__: found)
    assert (head_locator(predictor, RelocalizationTest()).locate(pair) is found) == kept


def test_an_unknown_solver_lists_the_known_ones():
    pair = plane_pair()
    predictor = OraclePredictor([pair.first, pair.second])
    with pytest.raises(ConfigError, match="Did you mean 'pnp'"):
        predictor.pose(predictor(pair.first.image, pair.second.image), INTRINSICS, INTRINSICS, solver="pnpp")


def test_a_prediction_can_be_sent_to_other_processes():
    rng = np.random.default_rng(0)
    predictor = TwoViewPredictor(_network())
    pair = predictor(*(rng.integers(0, 256, (56, 42, 3), dtype=np.uint8) for _ in range(2)))
    for found in (pair, pair.swapped()):
        other = pickle.loads(pickle.dumps(found))
        assert torch.equal(other.b.points, found.b.points) and torch.equal(other.a.points, found.a.points)


def test_images_of_any_sizes_come_back_in_their_own_pixels():
    predictor = TwoViewPredictor(_network(), border=0)
    rng = np.random.default_rng(0)
    wide, tall = (rng.integers(0, 255, shape, dtype=np.uint8) for shape in ((90, 200, 3), (300, 150, 3)))
    pair = predictor(wide, tall)
    assert pair.a.points.shape[1:3] == pair.fit_a.cropped == (14, 56)
    assert pair.b_in_a.points.shape[1:3] == pair.fit_b.cropped == (56, 28)
    matches = predictor.match(pair)
    assert (matches.pixels_a <= [199.5, 89.5]).all() and (matches.pixels_b <= [149.5, 299.5]).all()
    assert len(matches.points_a) == len(matches.points_b) == len(matches.confidence) == len(matches)


def test_the_other_order_is_decoded_only_where_it_is_used(monkeypatch):
    """PnP takes the first camera's points alone; Procrustes the second's too. Both are what the network gives."""
    predictor = TwoViewPredictor(_network(), subsample=4, border=0)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in range(2)]
    calls = []
    forward = type(predictor.model.head).forward
    monkeypatch.setattr(
        type(predictor.model.head),
        "forward",
        lambda self, *views: (calls.append(1), forward(self, *views))[1],
    )
    pair = predictor(*images)
    predictor.pose(pair, INTRINSICS, INTRINSICS, solver="pnp")
    predictor.pose(pair, INTRINSICS, INTRINSICS, solver="pointmap")
    assert len(calls) == 1
    predictor.pose(pair, INTRINSICS, INTRINSICS, solver="procrustes")
    assert len(calls) == 2 and pair.swapped().swapped().a is pair.a
    assert len(calls) == 2
    with torch.inference_mode():
        first, second = (predictor.prepare(image)[0] for image in images)
        (a, b_in_a), (b, a_in_b) = predictor.model(first, second), predictor.model(second, first)
    for one, other in ((pair.a, a), (pair.b_in_a, b_in_a), (pair.b, b), (pair.swapped().b_in_a, a_in_b)):
        torch.testing.assert_close(one.points, other.points, atol=1e-4, rtol=1e-4)


def test_preparing_cuts_what_the_fit_says():
    predictor = TwoViewPredictor(_network(square_ok=False))
    image = np.full((80, 80, 3), 255, dtype=np.uint8)
    image[:5] = 0  # cut off by the crop to 4:3
    pixels, fit = predictor.prepare(image)
    assert pixels.shape == (1, 3, *fit.cropped) == (1, 3, 42, 56)
    assert pixels.min() > 2.0  # white, normalized


def test_a_model_without_descriptors_matches_its_points():
    """The nearest neighbours of lifted points are those of the points (as for DUSt3R)."""
    predictor = TwoViewPredictor(_network(descriptors=0), subsample=4, border=0)
    image = np.random.default_rng(0).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    pair = predictor(image, image)
    matches = predictor.match(pair)
    a, b = (view.points[0].flatten(0, 1) for view in (pair.a, pair.b_in_a))
    x, y = matches.fitted.pixels1.unbind(-1)
    nearest = torch.cdist(a[y * 56 + x].double(), b.double()).argmin(1)
    found = matches.fitted.pixels2[:, 1] * 56 + matches.fitted.pixels2[:, 0]
    assert len(matches) and (nearest == found).double().mean() > 0.9


def test_the_most_confident_matches_are_kept():
    predictor = TwoViewPredictor(_network(), subsample=4, border=0)
    image = np.random.default_rng(0).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    every = predictor.match(predictor(image, image))
    some = predictor.match(predictor(image, image), max_matches=3)
    assert len(some) == 3 and some.confidence.min() >= np.sort(every.confidence)[-3]
