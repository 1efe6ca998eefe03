"""Matching by features against loops and cases worked out by hand."""

import math

import numpy as np
import pytest
import torch

from codistill.geometry.cameras import camera_matrix
from codistill.geometry.poses import pose_matrix
from codistill.metrics.correspondence import (
    best_matches,
    binned,
    geometric_errors,
    locate_keypoints,
    mean_of_classes,
)


def by_loops(first: np.ndarray, second: np.ndarray, ratio: bool) -> list[tuple[float, int, int]]:
    """(confidence, first, second) of every nearest neighbour, the surest first."""
    found = []
    for i, one in enumerate(first):
        distances = [
            1 - float(one @ other) / math.sqrt(float(one @ one) * float(other @ other)) for other in second
        ]
        order = sorted(range(len(second)), key=lambda j: distances[j])
        near, next_ = distances[order[0]], distances[order[1]]
        found.append((1 - near / next_ if ratio else 1 - near, i, order[0]))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("ratio", [True, False])
@pytest.mark.parametrize("at_once", [16_000_000, 100])
def test_best_matches_are_those_of_a_loop(ratio: bool, at_once: int) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(40, 6)), rng.normal(size=(33, 6)) * 5
    found = best_matches(torch.from_numpy(first), torch.from_numpy(second), 12, ratio=ratio, at_once=at_once)
    expected = by_loops(first, second, ratio)[:12]
    assert found.first.tolist() == [i for _, i, _ in expected]
    assert found.second.tolist() == [j for _, _, j in expected]
    np.testing.assert_allclose(found.confidence.numpy(), [c for c, _, _ in expected], atol=1e-12)


def test_the_ratio_test_prefers_what_is_unique() -> None:
    second = torch.tensor([[1.0, 0.01, 0.0], [1.0, -0.0101, 0.0], [0.0, 0.0, 1.0]])
    first = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.3, 1.0]])  # very near two of them; near one of them
    assert best_matches(first, second, 1).first.tolist() == [1]
    assert best_matches(first, second, 1, ratio=False).first.tolist() == [0]


def test_without_two_to_choose_from_there_is_no_match() -> None:
    assert len(best_matches(torch.randn(3, 4), torch.randn(1, 4), 5).first) == 0
    assert len(best_matches(torch.randn(0, 4), torch.randn(3, 4), 5).confidence) == 0
    assert len(best_matches(torch.randn(3, 4), torch.randn(4, 4), 50).first) == 3


def test_errors_on_a_plane_are_those_of_its_homography() -> None:
    """A wall at z = 2, seen again after a turn and a step: K2 (R + t nᵀ / d) K1⁻¹ maps its pixels."""
    k1, k2 = camera_matrix(50.0, (20.0, 15.0)).double(), camera_matrix(60.0, (31.5, 23.5)).double()
    angle = 0.3
    rotation = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    ).double()
    step = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    pixels1 = torch.tensor([[3.0, 4.0], [20.0, 15.0], [35.0, 28.0]], dtype=torch.float64)
    ones = torch.cat((pixels1, torch.ones(3, 1, dtype=torch.float64)), dim=1)
    points1 = 2.0 * ones @ torch.linalg.inv(k1).T
    normal = torch.tensor([[0.0, 0.0, 0.5]], dtype=torch.float64)
    homography = k2 @ (rotation + step[:, None] @ normal) @ torch.linalg.inv(k1)
    true = ones @ homography.T
    true = true[:, :2] / true[:, 2:]
    moved = points1 @ rotation.T + step
    off = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]], dtype=torch.float64)
    beside = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.4], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found, metres = geometric_errors(points1, moved + beside, true + off, pose_matrix(rotation, step), k2)
    torch.testing.assert_close(found, off)
    torch.testing.assert_close(metres, torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64))


def test_a_point_behind_the_second_camera_is_infinitely_wrong() -> None:
    pose = pose_matrix(torch.eye(3), torch.tensor([0.0, 0.0, -5.0]))
    point = torch.tensor([[0.0, 0.0, 2.0]])
    found, metres = geometric_errors(point, point, torch.zeros(1, 2), pose, torch.eye(3))
    assert torch.isinf(found).all() and metres.tolist() == [5.0]


def test_bins_hold_their_lower_edge() -> None:
    angles = torch.tensor([-1.0, 0.0, 29.9, 30.0, 89.0, 119.9, 120.0])
    assert binned(angles, (0, 30, 60, 90, 120)).tolist() == [-1, 0, 0, 1, 2, 3, -1]


def one_hot(rows: int, columns: int) -> torch.Tensor:
    return torch.eye(rows * columns).reshape(rows * columns, rows, columns)


def test_key_points_are_found_in_cells_as_probe3d_counts_them() -> None:
    """On a 5x5 map a key-point at x = 0.5 reads cell 0.5 * 4 = 2; cell 2 of 5 is called 0.4."""
    cells = one_hot(5, 5)
    points = torch.tensor([[0.5, 0.25], [0.0, 1.0]])  # cells (2, 1) and (0, 4)
    torch.testing.assert_close(locate_keypoints(cells, cells, points), torch.tensor([[0.4, 0.2], [0.0, 0.8]]))
    moved = cells.roll(1, dims=2)  # the target shows everything a column further right
    torch.testing.assert_close(locate_keypoints(cells, moved, points), torch.tensor([[0.6, 0.2], [0.2, 0.8]]))


def test_upsampled_key_points_are_found_at_pixel_centres() -> None:
    cells = one_hot(4, 4)
    points = torch.tensor([[0.375, 0.625]])  # the centre of the cell (1, 2)
    found = locate_keypoints(cells, cells, points, upsampled=(20, 20))
    torch.testing.assert_close(found, torch.tensor([[0.375, 0.625]]))  # pixel 7 of 20: (7 + 0.5) / 20
    torch.testing.assert_close(locate_keypoints(cells, cells, points), torch.tensor([[0.25, 0.5]]))


def test_upsampled_similarities_are_those_of_upsampled_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codistill.metrics.correspondence._CHANNELS", 4)
    torch.manual_seed(0)
    cells, target = torch.randn(2, 6, 5, 5)
    points = torch.rand(7, 2)
    found = locate_keypoints(cells, target, points, upsampled=(30, 30))
    large = torch.nn.functional.interpolate(target[None], size=(30, 30), mode="bilinear")[0]
    large = large / large.norm(dim=0)
    for point, place in zip(points, found, strict=True):
        x, y = (point * 5 - 0.5).clamp(0, 4)
        left, top = min(int(x), 3), min(int(y), 3)
        a, b = x - left, y - top
        wanted = (1 - a) * (1 - b) * cells[:, top, left] + a * (1 - b) * cells[:, top, left + 1]
        wanted = wanted + (1 - a) * b * cells[:, top + 1, left] + a * b * cells[:, top + 1, left + 1]
        best = int((wanted[:, None, None] * large).sum(0).argmax())
        torch.testing.assert_close(place * 30 - 0.5, torch.tensor([best % 30, best // 30]).float())


def test_classes_without_key_points_do_not_count() -> None:
    sums = np.array([[[3.0, 4.0], [0.0, 0.0], [1.0, 4.0]], [[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]])
    np.testing.assert_allclose(mean_of_classes(sums), [50.0, 50.0])
