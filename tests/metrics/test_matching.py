"""Match metrics on a plane whose correspondences are known."""

import math

import torch

from codistill.geometry.cameras import camera_matrix
from codistill.geometry.correspondences import PosedDepth, reproject
from codistill.geometry.poses import pose_matrix
from codistill.metrics.matching import coverage, match_errors, shares_below

K1 = camera_matrix(40.0, (23.5, 15.5)).double()
K2 = camera_matrix(44.0, (22.0, 16.0)).double()


def plane_pair() -> tuple[PosedDepth, PosedDepth]:
    """A wall at z = 3, seen from the origin and from 0.5 m to the right and 0.2 m closer."""
    step = torch.tensor([-0.5, 0.0, -0.2], dtype=torch.float64)
    second = pose_matrix(torch.eye(3, dtype=torch.float64), step)
    wall = torch.full((32, 48), 3.0, dtype=torch.float64)
    return (
        PosedDepth(depth=wall, intrinsics=K1, world_to_camera=torch.eye(4, dtype=torch.float64)),
        PosedDepth(depth=wall - 0.2, intrinsics=K2, world_to_camera=second),
    )


def some_matches(offset: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    first, second = plane_pair()
    found = reproject(first, second)
    y, x = torch.nonzero(found.visible, as_tuple=True)
    pixels1 = torch.stack((x, y), dim=-1)
    pixels2 = found.pixels[y, x] + torch.tensor([0.6, 0.8], dtype=torch.float64) * offset
    return pixels1, pixels2, found.pixels, found.visible


def test_errors_are_distances_to_the_truth() -> None:
    pixels1, pixels2, truth, visible = some_matches(2.0)
    errors = match_errors(pixels1, pixels2, truth, visible)
    torch.testing.assert_close(errors, torch.full_like(errors, 2.0))
    assert shares_below(errors, (1.0, 3.0)) == {1.0: 0.0, 3.0: 1.0}


def test_a_match_of_an_invisible_pixel_is_wrong() -> None:
    pixels1, pixels2, truth, visible = some_matches(0.0)
    visible = visible.clone()
    hidden = pixels1[:10]
    visible[hidden[:, 1], hidden[:, 0]] = False
    errors = match_errors(pixels1, pixels2, truth, visible)
    assert torch.isinf(errors[:10]).all() and errors[10:].max() == 0
    assert shares_below(errors, (1.0,))[1.0] == 1 - 10 / len(errors)


def test_no_match_gives_nan_and_no_coverage() -> None:
    nothing = torch.zeros(0, 2)
    assert math.isnan(shares_below(torch.zeros(0))[1.0])
    assert coverage(nothing, torch.zeros(0), torch.ones(32, 48, dtype=torch.bool)) == 0.0


def test_coverage_counts_cells() -> None:
    visible = torch.ones(32, 48, dtype=torch.bool)
    pixels = torch.tensor([[0, 0], [5, 5], [20, 0], [40, 20]])
    errors = torch.tensor([0.5, 0.5, 9.0, 0.5])
    assert coverage(pixels, errors, visible) == 2 / 6
    visible[:16, 32:] = False
    assert coverage(pixels, errors, visible) == 2 / 5
