"""RRA, RTA and mAA: the recorded value, invariances, missing views."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from codistill.geometry.poses import compose_poses, pose_matrix
from codistill.metrics.multiview_pose import direction_error, mean_average_accuracy, pair_errors, pose_scores


def cameras(count: int, seed: int = 0) -> torch.Tensor:
    turns = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    return pose_matrix(turns, torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3))))


def test_recorded_mean_average_accuracy() -> None:
    rotation, translation = np.array([1, 3, 7, 16, 45.0]), np.array([2, 2.5, 20, 4, 100.0])
    assert mean_average_accuracy(rotation, translation) == pytest.approx(0.526667, abs=1e-6)


def test_perfect_poses_in_another_world_at_another_scale() -> None:
    truth = cameras(6)
    world = cameras(1, seed=9)[0]
    estimate = compose_poses(truth, world.expand(6, 4, 4))
    scaled = truth.clone()
    scaled[:, :3, 3] *= 2.3
    for poses in (estimate, scaled):
        scores = pose_scores([pair_errors(poses, truth)])
        assert scores.pairs == 15
        assert scores.rra == scores.rta == {5: 100.0, 15: 100.0, 30: 100.0}
        assert scores.maa == pytest.approx(100.0)


def test_errors_of_one_turned_camera() -> None:
    truth = cameras(4)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.from_numpy(Rotation.from_euler("z", 10, degrees=True).as_matrix())
    estimate = truth.clone()
    estimate[3] = turn @ truth[3]  # the camera turns on the spot
    errors = pair_errors(estimate, truth)
    expected = torch.tensor([0.0, 0, 10, 0, 10, 10], dtype=torch.float64)  # pairs 01 02 03 12 13 23
    torch.testing.assert_close(errors.rotation, expected, atol=1e-5, rtol=0)
    scores = pose_scores([errors])
    assert scores.rra[5] == 50.0 and scores.rra[15] == 100.0


def test_direction_is_blind_to_sign_and_length() -> None:
    a = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    b = torch.tensor([[-5.0, 0, 0], [1, 1, 0], [0, 2, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(
        direction_error(a, b), torch.tensor([0.0, 45, 90, 90], dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_a_view_without_an_estimate_fails_its_pairs_only() -> None:
    truth = cameras(4)
    estimate = truth.clone()
    estimate[1] = torch.nan
    scores = pose_scores([pair_errors(estimate, truth)])
    assert scores.rra[30] == scores.rta[30] == 50.0
    assert scores.maa == pytest.approx(50.0) and math.isfinite(scores.maa)


def test_sets_are_pooled_by_pair_not_by_set() -> None:
    good, bad = cameras(3), cameras(4, seed=5)
    scores = pose_scores([pair_errors(good, good), pair_errors(torch.full_like(bad, torch.nan), bad)])
    assert scores.pairs == 9
    assert scores.rra[15] == pytest.approx(100 * 3 / 9) and scores.maa == pytest.approx(100 * 3 / 9)
