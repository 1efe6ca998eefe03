"""Person matching and mesh errors: by hand, against scipy, invariances, nobody, what early stopping loses."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation
from torch import Tensor

from codistill.metrics.human_mesh import (
    DetectionScores,
    PersonMatching,
    aligned_point_error,
    box_overlap,
    joint_boxes,
    match_people,
    mean_point_error,
    relative_to,
)


def boxes_at(*corners: tuple[float, float], side: float = 20.0) -> Tensor:
    """People of four joints, the corners of squares."""
    square = side * torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    return torch.stack([square + torch.tensor(corner) for corner in corners])


def test_three_against_three_of_which_one_pair_is_disjoint() -> None:
    truth = boxes_at((0, 0), (100, 0), (200, 0))
    predicted = boxes_at((1, 0), (103, 0), (400, 0))
    found = match_people(predicted, truth)
    assert found == PersonMatching(((0, 0), (1, 1)), (2,), (2,))


def test_the_best_pair_goes_first() -> None:
    truth = boxes_at((0, 0), (10, 0))
    assert match_people(boxes_at((9, 0), (10, 0)), truth).pairs == ((1, 1), (0, 0))


def test_distance_is_the_spectral_norm() -> None:
    """Two predictions of one person: Frobenius prefers the first, the largest singular value the second."""
    truth = boxes_at((0, 0))
    along = torch.tensor([[3.0, 0], [3, 0], [3, 0], [3, 0]])  # singular values 6 and 0
    both = torch.tensor([[2.7, 2.7], [2.7, -2.7], [-2.7, 2.7], [-2.7, -2.7]])  # 5.4 and 5.4
    assert along.norm() < both.norm()
    assert match_people(torch.cat((truth + along, truth + both)), truth).pairs == ((1, 0),)


def test_overlap_counts_the_last_pixels() -> None:
    first, second = torch.tensor([0.0, 0, 9, 9]), torch.tensor([9.0, 0, 18, 9])
    assert float(box_overlap(first, second)) == pytest.approx(10 / 190)
    assert float(box_overlap(first, first)) == 1.0
    assert float(box_overlap(first, first + 50)) == 0.0
    assert joint_boxes(torch.tensor([[3.0, 1], [0, 5]])).tolist() == [0, 1, 3, 5]


def test_early_stop_can_lose_a_pair_that_fits() -> None:
    """The nearest pair does not overlap and uses up the only prediction's chance, as in the published evaluation."""
    small, large = boxes_at((60, 0), side=2.0), boxes_at((0, 0), side=62.0)
    truth = torch.cat((boxes_at((64, 0), side=2.0), large))
    assert match_people(small, truth) == PersonMatching((), (0,), (0, 1))
    wide = boxes_at((5, 0), side=62.0)
    stopped = match_people(torch.cat((small, wide)), truth)
    assert stopped.pairs == ((1, 1),)
    shifted = torch.cat((boxes_at((64, 0), side=2.0), boxes_at((40, 0), side=62.0)))
    predicted = boxes_at((68, 0), side=14.0)
    assert match_people(predicted, shifted, early_stop=True).pairs == ()
    assert match_people(predicted, shifted, early_stop=False).pairs == ((0, 1),)


def test_nobody_on_either_side() -> None:
    people, nobody = boxes_at((0, 0), (50, 0)), torch.zeros(0, 4, 2)
    assert match_people(nobody, people) == PersonMatching((), (), (0, 1))
    assert match_people(people, nobody) == PersonMatching((), (0, 1), ())
    assert match_people(nobody, nobody) == PersonMatching((), (), ())


def test_fifty_people_in_any_order() -> None:
    truth = boxes_at(*[(30.0 * i, 7.0 * (i % 5)) for i in range(50)])
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    found = match_people(truth[order] + 0.5, truth)
    assert sorted(found.pairs) == [(i, int(order[i])) for i in range(50)]


def test_scores_as_published() -> None:
    """10 people, 1 missed, 2 false positives."""
    scores = DetectionScores.of(
        [
            PersonMatching(tuple((i, i) for i in range(6)), (6,), ()),
            PersonMatching(tuple((i, i) for i in range(3)), (3,), (3,)),
        ]
    )
    assert scores == DetectionScores(9, 1, 2) and scores.persons == 10
    assert scores.as_published() == {"precision": 82.0, "recall": 90.0, "f1": 86.0}
    assert scores.f1 == pytest.approx(2 / (1 / scores.precision + 1 / scores.recall))


def test_scores_of_nothing_are_undefined() -> None:
    scores = DetectionScores.of([])
    assert all(math.isnan(value) for value in scores.as_published().values())
    assert DetectionScores(0, 3, 0).f1 == 0.0


def test_errors_are_zero_at_the_truth_and_in_millimetres() -> None:
    points = torch.randn(4, 30, 3)
    assert mean_point_error(points, points).eq(0).all()
    assert aligned_point_error(points, points).max() < 1e-3
    moved = mean_point_error(points + torch.tensor([0.003, 0.004, 0.0]), points)
    torch.testing.assert_close(moved, torch.full((4,), 5.0), atol=1e-3, rtol=0)
    centred = relative_to(points + 3.0, (points + 3.0)[:, 0])
    torch.testing.assert_close(centred, points - points[:, :1], atol=1e-5, rtol=0)


def test_aligned_error_ignores_similarity_but_no_reflection() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, 30, 3, generator=generator, dtype=torch.float64)
    turn = torch.from_numpy(Rotation.random(3, random_state=0).as_matrix())
    moved = 1.7 * points @ turn.mT + torch.tensor([1.0, -2.0, 3.0])
    assert aligned_point_error(moved, points).max() < 1e-9
    noisy = points + 0.1 * torch.randn(3, 30, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        aligned_point_error(0.3 * noisy @ turn + 5.0, points), aligned_point_error(noisy, points)
    )
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    assert aligned_point_error(mirrored, points).min() > 100


def test_aligned_error_against_scipy() -> None:
    """scipy scales both sets to unit size; without a reflection in the optimum the residual is ours."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 3))
    predicted = 0.5 * truth @ Rotation.random(random_state=1).as_matrix() + 0.05 * rng.normal(size=(40, 3))
    first, second, _ = scipy_procrustes(truth, predicted)
    size = np.linalg.norm(truth - truth.mean(0))
    expected = 1000 * size * np.linalg.norm(first - second, axis=1).mean()
    ours = aligned_point_error(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert float(ours) == pytest.approx(expected, rel=1e-9)


def test_a_collapsed_prediction_has_a_finite_error() -> None:
    truth = torch.randn(1, 20, 3)
    expected = mean_point_error(truth.mean(1, keepdim=True).expand(1, 20, 3), truth)
    torch.testing.assert_close(aligned_point_error(torch.ones(1, 20, 3), truth), expected)


def test_no_matches_give_no_errors() -> None:
    nobody = torch.zeros(0, 30, 3)
    assert mean_point_error(nobody, nobody).shape == aligned_point_error(nobody, nobody).shape == (0,)
