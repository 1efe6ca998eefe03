import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pair_toys import OraclePredictor, ToyPairs, plane_pair

from codistill.errors import CheckpointError, DataError, MissingExtraError
from codistill.geometry.estimate import PoseEstimate
from codistill.metrics.mapfree_submission import score_submission, write_submission
from codistill.tasks.evaluation import evaluate, intervals, plain_interval
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.groups import Groups, alone
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.two_view.pairs import Pair
from codistill.tasks.two_view.relocalize.baselines import (
    LoftrMatcher,
    TrainingMotion,
    matched_pose,
    training_motion,
)
from codistill.tasks.two_view.relocalize.mapfree import mapfree_queries, predict_mapfree
from codistill.tasks.two_view.relocalize.model import RelocalizationTest, baseline_locator, head_locator
from codistill.tasks.two_view.relocalize.score import COLUMNS, by_overlap, pose_errors
from codistill.tasks.two_view.relocalize.task import TASK

TEST = RelocalizationTest()


def _estimate(translation, confidence=1.0):
    return PoseEstimate(np.eye(3), np.array(translation, dtype=float), np.zeros(0, dtype=bool), confidence)


def _table(estimates, overlap=None, groups=None):
    names = tuple(map(str, range(len(estimates))))
    errors = [pose_errors(estimate, np.eye(4)) for estimate in estimates]
    values = {name: np.array([one[name] for one in errors]) for name in errors[0]}
    values["overlap"] = np.full(len(names), 0.5) if overlap is None else np.array(overlap)
    return ScoreTable(names=names, groups=groups or alone(names), values=values)


def _score(name, table):
    return COLUMNS[name].statistic.score(table.values, np.ones((1, len(table)), dtype=np.int64))[0]


def _evaluated(model, data):
    opened = TaskData(spec="toy:x", split="test", samples=data)
    outcomes = TASK.score(model, opened, TEST, Runtime(out=Path()))
    return evaluate(TASK, outcomes, opened, TEST, pictures=1)


def test_the_virtual_camera_gives_the_benchmarks_golden_numbers():
    # Estimated camera-to-world translations of the specification's table; second-from-first is their inverse.
    estimates = [_estimate([-0.1, 0, 0]), _estimate([-0.25, 0, 0]), _estimate([0, 0, -0.25]), None]
    errors = _table(estimates).values
    np.testing.assert_allclose(errors["vcre"][:3], [21.631993, 53.885416, 14.939593], atol=1e-6)
    np.testing.assert_allclose(errors["translation"][:3], [0.1, 0.25, 0.25])
    assert np.isinf(errors["vcre"][3]) and errors["confidence"][3] == 0
    assert errors["poses"].shape == (4, 4, 4) and np.isnan(errors["poses"][3]).all()


def test_scores_of_a_known_table():
    # The specification's: confidence (.9, .8, .8, .4), right (1, 0, 1, 1), one failure: AUC .616667.
    good, bad = [0.0, 0, 0], [1.0, 0, 0]
    estimates = [_estimate(t, c) for t, c in ((good, 0.9), (bad, 0.8), (good, 0.8), (good, 0.4))]
    table = _table([*estimates, None])
    assert _score("vcre_auc_90", table) == pytest.approx(0.616667, abs=1e-6)
    assert _score("vcre_precision_45", table) == pytest.approx(0.6)
    assert _score("pose_precision", table) == pytest.approx(0.6)
    assert _score("estimated", table) == pytest.approx(0.8)
    assert _score("median_translation", table) == 0.0


def test_intervals_hold_the_score_and_missing_medians_are_null():
    found = intervals(COLUMNS, _table([_estimate([0, 0, 0])] * 30 + [None] * 70))
    precision = found["vcre_precision_90"]
    assert precision.low < 0.3 < precision.high and precision.count == 100
    assert 0.1 < precision.high - precision.low < 0.25  # 2 x 1.96 x sqrt(.3 x .7 / 100) = 0.18
    assert plain_interval(found["median_vcre"])["mean"] is None


def test_bins_of_overlap_hold_every_pair_once():
    overlap = [0.2, 0.4, 0.59, 0.6, 0.9, 1.0]
    bins = by_overlap(_table([_estimate([0, 0, 0])] * 6, overlap))
    assert {name: len(part) for name, part in bins.items()} == {"0-0.4": 1, "0.4-0.6": 2, "0.6-1": 3}


def test_nothing_to_score_is_said():
    with pytest.raises(DataError, match="there are no pairs"):
        TASK.check(TaskData(spec="toy:x", split="test", samples=ToyPairs(0)), False)


def test_an_oracle_scores_one_and_no_motion_does_not():
    data = ToyPairs()
    views = [view for index in range(4) for view in (data[index].first, data[index].second)]
    oracle = _evaluated(head_locator(OraclePredictor(views), TEST), data)
    still = _evaluated(baseline_locator("none", None, TEST), data)
    assert oracle.scores["pose_precision"].mean == 1.0
    assert oracle.scores["median_vcre"].mean < 20 < still.scores["median_vcre"].mean
    assert [len(row) for row in oracle.pictures] == [1] and still.pictures == []
    assert oracle.summary.facts["by_overlap"]["0.6-1"]["pose_precision"]["mean"] == 1.0
    assert oracle.summary.lines[0].startswith("overlap 0.6-1 (4 pairs): vcre_precision_90")


def test_the_median_motion_of_equal_pairs_is_their_motion():
    class Same:
        def __len__(self):
            return 3

        def __getitem__(self, _):
            return plane_pair(8.0, 0.4)

    motion = training_motion(Same())
    np.testing.assert_allclose(motion.estimate().matrix(), plane_pair(8.0, 0.4).second_from_first, atol=1e-9)
    assert motion.length == pytest.approx(np.hypot(0.4, 0.1))


def test_a_perfect_matcher_gives_direction_and_the_given_length():
    from codistill.geometry.projection import unproject

    rng = np.random.default_rng(0)
    pair = plane_pair()
    k = torch.from_numpy(pair.first.intrinsics)
    pixels = torch.from_numpy(rng.uniform([5, 5], [75, 50], (60, 2)))
    points = unproject(
        pixels, torch.from_numpy(rng.uniform(2, 5, 60)), k
    ).numpy()  # not on the plane: well posed
    pose = pair.second_from_first
    moved = (points @ pose[:3, :3].T + pose[:3, 3]) @ pair.second.intrinsics.T
    second = moved[:, :2] / moved[:, 2:]
    found = matched_pose(pair, (pixels.numpy(), second), 0.7)
    direction = pose[:3, 3] / np.linalg.norm(pose[:3, 3])
    np.testing.assert_allclose(found.translation, 0.7 * direction, atol=0.02)


def test_sift_without_texture_gives_no_pose():
    pair = plane_pair()
    flat = type(pair.first)(np.full_like(pair.first.image, 90), *_rest(pair.first))
    motion = TrainingMotion(np.zeros(3), np.zeros(3), 1.0, 1)
    assert baseline_locator("sift", motion, TEST).locate(Pair(flat, flat, 1.0, "flat")) is None


def _rest(view):
    return view.depth, view.intrinsics, view.camera_to_world, view.name


def test_loftr_without_kornia_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kornia.feature", None)
    with pytest.raises(MissingExtraError, match=r"codistill\[matching\]"):
        baseline_locator("loftr", TrainingMotion(np.zeros(3), np.zeros(3), 1.0, 1), TEST)


def test_loftr_without_its_weights_says_where_to_put_them(monkeypatch, tmp_path):
    feature = pytest.importorskip("kornia.feature")

    def offline(pretrained):
        raise RuntimeError(f"no way to {pretrained}")

    monkeypatch.setattr(feature, "LoFTR", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    place = re.escape(str(tmp_path / "hub" / "checkpoints" / "loftr_outdoor.ckpt"))
    with pytest.raises(CheckpointError, match=rf"no way to outdoor.*kornia/loftr\) to {place}"):
        LoftrMatcher()


def test_the_real_loftr_takes_what_it_is_given(monkeypatch):
    feature = pytest.importorskip("kornia.feature")
    real = feature.LoFTR
    monkeypatch.setattr(feature, "LoFTR", lambda pretrained: real(pretrained=None))  # no weights, no network
    image = np.random.default_rng(0).integers(0, 255, (50, 75, 3), dtype=np.uint8)
    first, second = LoftrMatcher()(image, image[:44])
    assert first.shape == second.shape and first.ndim == 2 and first.shape[1] == 2


def test_loftr_pixels_are_those_of_the_original_images(monkeypatch):
    feature = pytest.importorskip("kornia.feature")
    seen = []

    class Corners(torch.nn.Module):
        """Matches the outer corners of both images' pixels."""

        def forward(self, images):
            seen.extend(images.values())
            return {
                f"keypoints{view}": torch.tensor([[-0.5, -0.5], [image.shape[3] - 0.5, image.shape[2] - 0.5]])
                for view, image in enumerate(images.values())
            }

    monkeypatch.setattr(feature, "LoFTR", lambda pretrained: Corners())
    pixels = LoftrMatcher()(np.full((900, 1300, 3), 255, np.uint8), np.zeros((120, 90, 3), np.uint8))
    np.testing.assert_allclose(pixels[0], [[-0.5, -0.5], [1299.5, 899.5]], atol=1e-3)
    np.testing.assert_allclose(pixels[1], [[-0.5, -0.5], [89.5, 119.5]], atol=1e-3)
    assert [tuple(image.shape) for image in seen] == [(1, 1, 440, 640), (1, 1, 120, 88)]
    assert seen[0].max() == 1.0 and seen[1].min() == 0.0


@pytest.fixture
def mapfree(tmp_path):
    """A scene of nine queries, each a plane view at its own place."""
    from pair_toys import look, plane_view
    from PIL import Image

    scene = tmp_path / "val" / "s00460"
    poses, intrinsics = [], []
    for sequence, frames in (("seq0", 1), ("seq1", 9)):
        (scene / sequence).mkdir(parents=True)
        for frame in range(frames):
            name = f"{sequence}/frame_{frame:05d}.jpg"
            x = 0.0 if sequence == "seq0" else 0.1 * (frame + 1)
            Image.fromarray(plane_view(look(x, 0, 0), name).image).save(scene / name, quality=95)
            poses.append(f"{name} 1 0 0 0 {-x} 0 0\n")
            intrinsics.append(f"{name} 70 70 41.5 27.5 84 56\n")
    (scene / "poses.txt").write_text("".join(poses))
    (scene / "intrinsics.txt").write_text("".join(intrinsics))
    return tmp_path / "val"


def test_true_poses_written_as_a_submission_score_one(mapfree, tmp_path):
    assert [name for _, name in mapfree_queries(mapfree)] == ["seq1/frame_00000.jpg", "seq1/frame_00005.jpg"]

    def oracle(pair):
        frame = int(pair.second.name[-9:-4])
        return _estimate([-0.1 * (frame + 1), 0, 0], confidence=10)

    write_submission(tmp_path / "s.zip", predict_mapfree(mapfree, oracle))
    result = score_submission(mapfree, tmp_path / "s.zip")
    assert result.scores.vcre_precision[45.0] == 1.0 and result.scores.median_translation < 1e-8
    assert result.scores.frames == 2 and not result.warnings


def test_unlocated_queries_are_left_out_and_scenes_stay(mapfree):
    assert predict_mapfree(mapfree, lambda _: None) == {"s00460": []}
    with pytest.raises(DataError, match="Name the split"):
        mapfree_queries(mapfree.parent)


def test_queries_are_not_counted_over_missing_frames(mapfree):
    (mapfree / "s00460" / "seq1" / "frame_00002.jpg").unlink()
    with pytest.raises(
        DataError, match=r"misses 1 of the 9 frames of seq1.*the first: seq1/frame_00002\.jpg"
    ):
        mapfree_queries(mapfree)


def test_pairs_of_one_scene_leave_intervals_unknown_and_scenes_are_drawn_whole():
    estimates = [_estimate([-0.1 * (index % 5), 0, 0]) for index in range(40)]
    scenes = Groups(tuple(f"s{index // 10}" for index in range(40)), "scenes")
    one = intervals(COLUMNS, _table(estimates, groups=Groups(("s",) * 40, "scenes")))
    assert all((score.low, score.high, score.groups) == (None, None, 1) for score in one.values())
    assert plain_interval(one["estimated"])["low"] is None
    assert COLUMNS["estimated"].statistic.interval(_table(estimates, groups=scenes)).groups == 4
