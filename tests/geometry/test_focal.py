"""Focal estimation: a synthetic plane, bad points, an independent minimizer."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from codistill.geometry.cameras import camera_matrix
from codistill.geometry.focal import estimate_focal
from codistill.geometry.projection import depth_to_pointmap


def plane(rows: int, columns: int, focal: float) -> torch.Tensor:
    """A slanted plane seen by a camera whose principal point is (W/2, H/2)."""
    depth = 2 + 0.05 * torch.arange(rows * columns, dtype=torch.float64).reshape(1, rows, columns) / columns
    return depth_to_pointmap(depth, camera_matrix(focal, (columns / 2, rows / 2)).double())


def test_recovers_the_focal_length_of_a_plane() -> None:
    found = estimate_focal(plane(6, 8, 10.0))
    assert float(found) == pytest.approx(10.0, rel=1e-6)


def test_a_third_of_wrong_points_hardly_matters() -> None:
    points = plane(40, 50, 60.0).repeat(2, 1, 1, 1)
    points[0, ::3, :, :2] = 0.5 * torch.randn_like(points[0, ::3, :, :2])
    points[1, ::3] = torch.nan
    found = estimate_focal(points)
    assert float((found / 60.0 - 1).abs().max()) < 0.05


def test_weiszfeld_approaches_the_minimum_of_the_robust_cost() -> None:
    points = plane(12, 16, 20.0) + 0.02 * torch.randn(1, 12, 16, 3, dtype=torch.float64)
    grid = np.stack(np.meshgrid(np.arange(16.0), np.arange(12.0)), axis=-1) - [8, 6]
    quotient = (points[0, ..., :2] / points[0, ..., 2:]).numpy()
    best = minimize_scalar(
        lambda f: np.linalg.norm(grid - f * quotient, axis=-1).sum(), bounds=(5, 60), method="bounded"
    )
    assert float(estimate_focal(points)) == pytest.approx(float(best.x), rel=2e-3)


def test_principal_point_and_clipping() -> None:
    points = plane(6, 8, 10.0)
    exact_centre = torch.tensor([[4.0, 3.0]], dtype=torch.float64)
    assert float(estimate_focal(points, exact_centre)) == pytest.approx(10.0)
    base = 8 / (2 * np.tan(np.pi / 6))
    assert float(estimate_focal(points, clip=(0.1, 0.5))) == pytest.approx(0.5 * base)


def test_gradient_reaches_the_pointmap() -> None:
    points = plane(4, 5, 6.0) + 0.05 * torch.randn(1, 4, 5, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(estimate_focal, (points.requires_grad_(),), atol=1e-4)


def test_points_on_one_ray_have_no_focal_length():
    same = torch.tensor([0.2, -0.1, 2.0]).expand(1, 6, 8, 3)
    nearly = same + 1e-6 * torch.randn(1, 6, 8, 3, generator=torch.Generator().manual_seed(0))
    for points in (same, nearly, same * torch.rand(1, 6, 8, 1), torch.zeros(1, 6, 8, 3)):
        assert estimate_focal(points, clip=(0.5, 4.0)).isnan().all()
