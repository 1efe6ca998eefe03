from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from codistill.tasks.two_view.multiview.evaluate_pose import (
    POSE_SCORES,
    PoseProtocol,
    errors_of_pairs,
    evaluate_pose,
)
from hilly_scene import hilly_pair, hilly_views, oracle, write_sample

from codistill.errors import ConfigError, DataError
from codistill.metrics.interval import bootstrap_mean
from codistill.metrics.multiview_pose import PairErrors, pair_errors, pose_scores
from codistill.tasks.shared.groups import alone
from codistill.tasks.two_view.multiview.data import PairSet, open_views
from codistill.tasks.two_view.multiview.predict import ESTIMATORS
from codistill.tasks.two_view.multiview.score import MultiviewResult, category_intervals
from codistill.tasks.two_view.reconstruct.align import AlignConfig


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_perfect_pairs_give_perfect_poses(estimator, tmp_path):
    views = hilly_views()
    write_sample(tmp_path / "test" / "s", views)
    data = open_views(f"multiview:{tmp_path}", "test")
    protocol = PoseProtocol(estimator=estimator, align=AlignConfig(iterations=60))
    result = evaluate_pose(oracle(views), data, protocol)
    assert result.weights.tolist() == [6]  # all pairs of four views
    found = {name: interval.mean for name, interval in result.intervals().items()}
    limit = 100.0 if estimator == "pnp" else 95.0  # matches are half a pixel off, which is 0.3 degrees here
    assert found["maa_30"] >= limit
    assert all(found[name] == 100.0 for name in POSE_SCORES if name != "maa_30")


def test_a_turned_camera_is_as_wrong_as_it_is_turned():
    pair = hilly_pair().pair
    turned = pair.first.camera_to_world.copy()
    turned[:3, :3] = turned[:3, :3] @ cv2.Rodrigues(np.radians([0.0, 9.5, 0.0]))[0]
    sample = PairSet(replace(pair, first=replace(pair.first, camera_to_world=turned)))
    result = evaluate_pose(oracle([pair.first, pair.second]), [sample], PoseProtocol(estimator="pnp"))
    assert result.details["rotation"] == pytest.approx(9.5, abs=0.2)
    found = dict(zip(result.scores, result.sums[0], strict=True))
    assert found["rra_5"] == 0 and found["rra_15"] == found["rta_15"] == 100
    assert found["maa_30"] == pytest.approx(100 * 21 / 30)  # right from the tenth of thirty bins on


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nonsense_counts_as_wrong(estimator):
    sample = hilly_pair()
    views = [sample.read(0), sample.read(1)]
    result = evaluate_pose(oracle(views, [float("nan")]), [sample], PoseProtocol(estimator=estimator))
    assert not result.sums.any() and result.weights.tolist() == [1]


def test_errors_of_pairs_agree_with_those_of_consistent_cameras():
    generator = np.random.default_rng(0)
    cameras = []
    for _ in range(2):
        poses = np.tile(np.eye(4), (4, 1, 1))
        for pose in poses:
            pose[:3, :3] = cv2.Rodrigues(generator.normal(size=3))[0]
            pose[:3, 3] = generator.normal(size=3)
        cameras.append(torch.from_numpy(poses))
    first, second = np.triu_indices(4, 1)
    relative = cameras[0][second] @ torch.linalg.inv(cameras[0][first])
    got, expected = errors_of_pairs(relative, cameras[1]), pair_errors(*cameras)
    torch.testing.assert_close(got.rotation, expected.rotation)
    torch.testing.assert_close(got.translation, expected.translation)


def _result(errors: list[PairErrors], categories: tuple[str, ...]) -> MultiviewResult:
    rows = [(pose_scores([e]), len(e.rotation)) for e in errors]
    sums = np.array([np.array([*s.rra.values(), *s.rta.values(), s.maa]) * n for s, n in rows])
    weights = np.array([n for _, n in rows], dtype=float)
    return MultiviewResult(
        POSE_SCORES, sums, weights, ("",) * len(errors), categories, alone(categories), {}, []
    )


def test_pairs_are_pooled_in_a_category_and_categories_averaged():
    generator = torch.Generator().manual_seed(0)
    errors = [
        PairErrors(40 * torch.rand(count, generator=generator), 40 * torch.rand(count, generator=generator))
        for count in (3, 45, 10)
    ]
    result = _result(errors, ("a", "a", "b"))
    pooled = [pose_scores(errors[:2]), pose_scores(errors[2:])]
    found, parts = result.intervals(), result.by_category()
    assert parts["a"]["maa_30"].mean == pytest.approx(pooled[0].maa) and parts["a"]["maa_30"].count == 2
    assert parts["b"]["rta_15"].mean == pytest.approx(pooled[1].rta[15])
    assert found["maa_30"].mean == pytest.approx((pooled[0].maa + pooled[1].maa) / 2)
    assert found["maa_30"].mean != pytest.approx(pose_scores(errors).maa, abs=0.5)
    assert _result(errors, ("a",) * 3).by_category() == {}


def test_intervals_of_one_category_are_those_of_a_mean():
    values = np.random.default_rng(0).normal(50, 10, 200)
    found = category_intervals(["x"], values[:, None], np.ones(200), [""] * 200)["x"]
    plain = bootstrap_mean(values)
    assert found.mean == pytest.approx(plain.mean)
    assert found.low == pytest.approx(plain.low, abs=0.15) and found.high == pytest.approx(
        plain.high, abs=0.15
    )


def test_a_category_of_one_sequence_leaves_the_interval_unknown():
    values = np.random.default_rng(0).normal(50, 10, (8, 1))
    categories = ["cup"] * 4 + ["kite"] * 4

    def scored(groups):
        return category_intervals(["x"], values, np.ones(8), categories, groups)["x"]

    several, one = scored(["1", "1", "2", "2", "3", "3", "4", "4"]), scored(["1", "1", "2", "2", *"3333"])
    assert several.groups == 4 and several.low < several.mean < several.high  # type: ignore[operator]
    assert (one.low, one.high, one.groups) == (None, None, 3) and one.mean == several.mean


def test_scores_need_finite_numbers():
    with pytest.raises(DataError, match="got 0 samples"):
        category_intervals(["x"], np.zeros((0, 1)), np.zeros(0), [])
    with pytest.raises(DataError, match="finite numbers"):
        category_intervals(["x"], np.array([[np.nan]]), np.ones(1), [""])


def test_the_draw_of_a_sequence_is_its_own():
    protocol = PoseProtocol()
    drawn = protocol.chosen("apple/1", 100)
    assert len(set(drawn)) == 10 and drawn == protocol.chosen("apple/1", 100)
    assert drawn != protocol.chosen("apple/2", 100) != PoseProtocol(seed=1).chosen("apple/2", 100)
    assert sorted(protocol.chosen("few", 3)) == [0, 1, 2]


def test_protocols_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"estimator 'match'\. Did you mean 'matches'"):
        PoseProtocol(estimator="match")
    with pytest.raises(ConfigError, match="2 views of a sequence at least; got 1"):
        PoseProtocol(frames=1)
    with pytest.raises(ConfigError, match="seed must be 0 or more"):
        PoseProtocol(seed=-1)
