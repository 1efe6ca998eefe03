"""Map-free metric: the table made by running the benchmark's code, and what must hold of any metric of its kind."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from codistill.metrics.relocalization import (
    FrameErrors,
    SceneErrors,
    aggregate,
    frame_errors,
    precision_areas,
    precision_auc,
    virtual_points,
)

K = torch.tensor([[590.0, 0, 270], [0, 590, 360], [0, 0, 1]], dtype=torch.float64)[None]
SIZE = (540, 720)
IDENTITY = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0]], dtype=torch.float64)


def world_to_camera(yaw: float, center: tuple[float, float, float]) -> torch.Tensor:
    """qw qx qy qz tx ty tz of a camera turned about y by `yaw` degrees, standing at `center`."""
    turn = Rotation.from_euler("y", yaw, degrees=True).inv()
    x, y, z, w = turn.as_quat()
    return torch.tensor([[w, x, y, z, *(-turn.as_matrix() @ np.array(center))]], dtype=torch.float64)


def errors_of(estimate: torch.Tensor, truth: torch.Tensor = IDENTITY) -> FrameErrors:
    return frame_errors(estimate, truth, torch.ones(1, dtype=torch.float64), K, SIZE)


@pytest.mark.parametrize(
    ("yaw", "center", "vcre"),
    [
        (0, (0, 0, 0), 0.0),
        (0, (0.1, 0, 0), 21.631993),
        (0, (0.25, 0, 0), 53.885416),
        (0, (0, 0, 0.25), 14.939593),
        (5, (0, 0, 0), 51.688393),
        (5, (0.25, 0, 0), 102.130037),
        (20, (0, 0, 0), 178.813951),
        (180, (0, 0, 0), 138.207895),
    ],
)
def test_recorded_errors(yaw: float, center: tuple[float, float, float], vcre: float) -> None:
    found = errors_of(world_to_camera(yaw, center))
    assert float(found.vcre) == pytest.approx(vcre, abs=1e-6)
    assert float(found.rotation) == pytest.approx(yaw, abs=1e-9)
    assert float(found.translation) == pytest.approx(np.linalg.norm(center), abs=1e-12)


def test_the_sign_and_norm_of_a_quaternion_do_not_matter() -> None:
    estimate, truth = world_to_camera(7, (0.1, 0.2, 0)), world_to_camera(-3, (0, 0.1, 0.3))
    reference = errors_of(estimate, truth)
    scaled = estimate.clone()
    scaled[:, :4] *= -2.5
    for name in ("translation", "rotation", "vcre"):
        torch.testing.assert_close(getattr(errors_of(scaled, truth), name), getattr(reference, name))


def test_virtual_points() -> None:
    points = virtual_points()
    assert points.shape == (196, 3)
    torch.testing.assert_close(points.amin(0), torch.tensor([-0.9, -0.45, 1.8], dtype=torch.float64))
    torch.testing.assert_close(points.amax(0), torch.tensor([0.9, 0.45, 3.6], dtype=torch.float64))


def test_recorded_precision_curves() -> None:
    accepted = torch.tensor([True, False, True, True])
    confidence = torch.tensor([0.9, 0.8, 0.8, 0.4])
    assert precision_auc(accepted, confidence, 5) == pytest.approx(0.616667, abs=1e-6)
    accepted = torch.tensor([True, True, False, True, False])
    assert precision_auc(accepted, torch.arange(5.0, 0, -1), 5) == pytest.approx(0.803333, abs=1e-6)
    assert precision_auc(accepted, torch.ones(5), 5) == pytest.approx(0.6, abs=1e-6)


def test_perfect_ranking_reaches_its_closed_form() -> None:
    """p (1 - ln p) in the limit of many frames."""
    accepted = torch.arange(100_000) < 55_900
    area = precision_auc(accepted, -torch.arange(100_000, dtype=torch.float64), 100_000)
    assert area == pytest.approx(0.559 * (1 - math.log(0.559)), abs=1e-4)


def test_areas_of_resamples_are_those_of_repeated_frames() -> None:
    generator = torch.Generator().manual_seed(3)
    accepted = torch.rand(50, generator=generator) < 0.6
    confidence = torch.rand(50, generator=generator, dtype=torch.float64).round(decimals=1)  # with ties
    times = torch.randint(0, 4, (20, 50), generator=generator)
    times[:, confidence > 0.8] = 0  # those of the highest confidence are in no resample
    total = times.sum(1) + torch.arange(20)
    expected = [
        precision_auc(accepted.repeat_interleave(row), confidence.repeat_interleave(row), int(count))
        for row, count in zip(times, total, strict=True)
    ]
    found = precision_areas(accepted, confidence, times, total)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)
    none = precision_areas(accepted[:0], confidence[:0], times[:, :0], total)
    assert torch.equal(none, torch.zeros(20, dtype=torch.float64))


def test_area_depends_on_the_order_of_confidences_only() -> None:
    generator = torch.Generator().manual_seed(0)
    accepted = torch.rand(60, generator=generator) < 0.4
    confidence = torch.rand(60, generator=generator, dtype=torch.float64).round(decimals=1)  # with ties
    area = precision_auc(accepted, confidence, 80)
    shuffle = torch.randperm(60, generator=generator)
    assert precision_auc(accepted, confidence.exp() * 7, 80) == area
    assert precision_auc(accepted[shuffle], confidence[shuffle], 80) == pytest.approx(area, abs=1e-12)


def scene(name: str, translation: list[float], failures: int) -> SceneErrors:
    values = torch.tensor(translation, dtype=torch.float64)
    errors = FrameErrors(values, torch.zeros_like(values), 100 * values, torch.ones_like(values))
    return SceneErrors(name, errors, failures)


def test_medians_are_per_scene_and_precisions_are_pooled() -> None:
    scores = aggregate([scene("a", [0.1, 0.2], 0), scene("b", [1.0], 3), scene("c", [], 4)], (90.0, 15.0))
    assert scores.median_translation == pytest.approx((0.15 + 1.0) / 2)
    assert scores.pose_precision == pytest.approx(2 / 10)
    assert scores.vcre_precision == {90.0: pytest.approx(0.2), 15.0: pytest.approx(0.1)}
    assert scores.estimated == pytest.approx(0.3) and scores.frames == 10
    # All estimates equally confident: the area is their precision times the share that has an estimate.
    assert scores.pose_auc == pytest.approx(2 / 3 * 0.3)


def test_the_thresholds_are_strict() -> None:
    at_the_limit = scene("a", [0.25, 0.2499999], 0)
    assert aggregate([at_the_limit]).pose_precision == 0.5


def test_nothing_estimated_and_nothing_at_all() -> None:
    scores = aggregate([scene("a", [], 5)])
    assert scores.pose_precision == scores.pose_auc == scores.estimated == 0.0
    assert math.isnan(scores.median_translation)
    assert math.isnan(aggregate([]).pose_precision)
