from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hilly_scene import hilly_pair, hilly_views, oracle
from pair_toys import write_views

from codistill.errors import ConfigError, DataError
from codistill.metrics.interval import bootstrap_mean
from codistill.metrics.multiview_pose import PairErrors, pair_errors, pose_scores
from codistill.tasks.evaluation import evaluate, intervals
from codistill.tasks.layout import TaskData
from codistill.tasks.opening import open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.groups import alone
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.two_view.multiview.data import LAYOUTS, PairSet
from codistill.tasks.two_view.multiview.pose import COLUMNS, TASK, MultiviewPoseTest, errors_of_pairs
from codistill.tasks.two_view.multiview.predict import PAIR_ESTIMATORS
from codistill.tasks.two_view.multiview.score import by_category, resample_categories

ESTIMATORS = (*PAIR_ESTIMATORS, "alignment")


def measured(predictor, samples, **options):
    """What was counted, and scores."""
    test, data = MultiviewPoseTest(**options), TaskData(spec="toy:x", split="test", samples=samples)
    found = evaluate(TASK, TASK.score(predictor, data, test, Runtime(out=Path())), data, test)
    return found.table, {name: interval.mean for name, interval in found.scores.items()}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_perfect_pairs_give_perfect_poses(estimator, tmp_path):
    views = hilly_views()
    write_views(tmp_path / "test" / "s", views)
    data = open_split(LAYOUTS, f"multiview:{tmp_path}", "test").samples
    options = {"iterations": 60} if estimator == "alignment" else {}
    table, found = measured(oracle(views), data, estimator=estimator, **options)
    assert table.values["pairs"].tolist() == [6]  # all pairs of four views
    limit = 100.0 if estimator == "pnp" else 95.0  # matches are half a pixel off, which is 0.3 degrees here
    assert found["maa_30"] >= limit
    assert all(found[name] == 100.0 for name in COLUMNS if name != "maa_30")


def test_a_turned_camera_is_as_wrong_as_it_is_turned():
    pair = hilly_pair().pair
    turned = pair.first.camera_to_world.copy()
    turned[:3, :3] = turned[:3, :3] @ cv2.Rodrigues(np.radians([0.0, 9.5, 0.0]))[0]
    sample = PairSet(replace(pair, first=replace(pair.first, camera_to_world=turned)))
    table, found = measured(oracle([pair.first, pair.second]), [sample], estimator="pnp")
    assert table.rows["rotation"] == pytest.approx(9.5, abs=0.2)
    assert found["rra_5"] == 0 and found["rra_15"] == found["rta_15"] == 100
    assert found["maa_30"] == pytest.approx(100 * 21 / 30)  # right from the tenth of thirty bins on


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nonsense_counts_as_wrong(estimator):
    sample = hilly_pair()
    views = [sample.read(0), sample.read(1)]
    table, _ = measured(oracle(views, [float("nan")]), [sample], estimator=estimator)
    assert not table.values["scores"].any() and table.values["pairs"].tolist() == [1]


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


def _table(errors: list[PairErrors], categories: tuple[str, ...]) -> ScoreTable:
    rows = [pose_scores([error]) for error in errors]
    values = {
        "scores": np.array([[*s.rra.values(), *s.rta.values(), s.maa] for s in rows]),
        "pairs": np.array([len(error.rotation) for error in errors]),
        "category": np.array(categories),
    }
    return ScoreTable(names=("",) * len(errors), groups=alone(categories), values=values)


def test_pairs_are_pooled_in_a_category_and_categories_averaged():
    generator = torch.Generator().manual_seed(0)
    errors = [
        PairErrors(40 * torch.rand(count, generator=generator), 40 * torch.rand(count, generator=generator))
        for count in (3, 45, 10)
    ]
    table = _table(errors, ("a", "a", "b"))
    pooled = [pose_scores(errors[:2]), pose_scores(errors[2:])]
    found, parts = intervals(COLUMNS, table), by_category(table, COLUMNS)
    assert parts["a"]["maa_30"].mean == pytest.approx(pooled[0].maa) and parts["a"]["maa_30"].count == 2
    assert parts["b"]["rta_15"].mean == pytest.approx(pooled[1].rta[15])
    assert found["maa_30"].mean == pytest.approx((pooled[0].maa + pooled[1].maa) / 2)
    assert found["maa_30"].mean != pytest.approx(pose_scores(errors).maa, abs=0.5)
    assert by_category(_table(errors, ("a",) * 3), COLUMNS) == {}


def test_a_difference_is_one_of_means_over_categories_and_pairs_what_both_share():
    generator = torch.Generator().manual_seed(1)
    base = [
        PairErrors(40 * torch.rand(9, generator=generator), 40 * torch.rand(9, generator=generator))
        for _ in range(12)
    ]
    better = [PairErrors(0.9 * error.rotation, 0.9 * error.translation) for error in base]
    one, other = (_table(errors, ("a", "b", "b") * 4) for errors in (better, base))
    statistic = COLUMNS["maa_30"].statistic
    found, alone_one = statistic.difference(one, other), statistic.interval(one)
    assert found.mean == pytest.approx(alone_one.mean - statistic.interval(other).mean)
    assert 0 < found.low < found.mean < found.high
    assert found.high - found.low < 0.7 * (alone_one.high - alone_one.low)
    same = statistic.difference(one, one)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_intervals_of_one_category_are_those_of_a_mean():
    values = np.random.default_rng(0).normal(50, 10, 200)
    found = resample_categories(values[:, None], np.ones((200, 1)), [""] * 200).interval()
    plain = bootstrap_mean(values)
    assert found.mean == pytest.approx(plain.mean)
    assert found.low == pytest.approx(plain.low, abs=0.15) and found.high == pytest.approx(
        plain.high, abs=0.15
    )


def test_a_category_of_one_sequence_leaves_the_interval_unknown():
    values = np.random.default_rng(0).normal(50, 10, (8, 1))
    categories = ["cup"] * 4 + ["kite"] * 4

    def scored(groups):
        return resample_categories(values, np.ones((8, 1)), categories, groups).interval()

    several, one = scored(["1", "1", "2", "2", "3", "3", "4", "4"]), scored(["1", "1", "2", "2", *"3333"])
    assert several.groups == 4 and several.low < several.mean < several.high  # type: ignore[operator]
    assert (one.low, one.high, one.groups) == (None, None, 3) and one.mean == several.mean


def test_scores_need_finite_numbers():
    with pytest.raises(DataError, match="got 0 samples"):
        resample_categories(np.zeros((0, 1)), np.zeros((0, 1)), [])
    with pytest.raises(DataError, match="finite numbers"):
        resample_categories(np.array([[np.nan]]), np.ones((1, 1)), [""])


def test_the_draw_of_a_sequence_is_its_own():
    protocol = MultiviewPoseTest()
    drawn = protocol.chosen("apple/1", 100)
    assert len(set(drawn)) == 10 and drawn == protocol.chosen("apple/1", 100)
    assert drawn != protocol.chosen("apple/2", 100) != MultiviewPoseTest(seed=1).chosen("apple/2", 100)
    assert sorted(protocol.chosen("few", 3)) == [0, 1, 2]


def test_protocols_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"estimator 'match'\. Did you mean 'matches'"):
        MultiviewPoseTest(estimator="match")
    with pytest.raises(ConfigError, match="2 views of a sequence at least; got 1"):
        MultiviewPoseTest(frames=1)
    with pytest.raises(ConfigError, match="seed must be 0 or more"):
        MultiviewPoseTest(seed=-1)
