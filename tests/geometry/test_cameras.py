"""Intrinsics and pixels under resizing and cropping; the published pre-processing sizes."""

import pytest
import torch

from codistill.errors import DataError
from codistill.geometry.cameras import (
    camera_matrix,
    crop_intrinsics,
    fit_long_edge,
    focal_from_field_of_view,
    scale_intrinsics,
)
from codistill.geometry.projection import project


def test_camera_matrix_of_numbers_and_batches() -> None:
    expected = torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    torch.testing.assert_close(camera_matrix(500.0, (320, 240)), expected)
    batch = camera_matrix(torch.tensor([[500.0, 510.0], [600.0, 610.0]]), torch.tensor([320.0, 240.0]))
    assert batch.shape == (2, 3, 3)
    assert batch[1, 0, 0] == 600 and batch[1, 1, 1] == 610 and batch[0, 1, 2] == 240
    one_each = camera_matrix(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, 2))
    assert one_each.shape == (3, 3, 3) and one_each[2, 1, 1] == 3
    assert camera_matrix(torch.tensor(100), (44.5, 29.5))[:2, 2].tolist() == [44.5, 29.5]


def test_field_of_view() -> None:
    assert focal_from_field_of_view(90.0, 640) == pytest.approx(320.0)


def test_intrinsics_and_pixels_move_together() -> None:
    """A point projected with the fitted intrinsics lands where its original pixel is carried."""
    fit = fit_long_edge(720, 540, 512, 16)
    original = camera_matrix(torch.tensor([590.0, 585.0]), torch.tensor([270.0, 360.0])).double()
    points = torch.randn(40, 3, dtype=torch.float64) * 0.3 + torch.tensor([0, 0, 3.0], dtype=torch.float64)
    before, after = project(points, original), project(points, fit.intrinsics(original))
    torch.testing.assert_close(fit.from_original(before), after)
    torch.testing.assert_close(fit.to_original(after), before)


def test_map_free_rule_for_scaled_intrinsics() -> None:
    """fx' = fx s, cx' = cx s + s/2 - 1/2: the benchmark's own rule."""
    scaled = scale_intrinsics(camera_matrix(590.0, (270.0, 360.0)), 0.5, 0.25)
    expected = torch.tensor([[295.0, 0, 134.75], [0, 147.5, 89.625], [0, 0, 1]])
    torch.testing.assert_close(scaled, expected)
    torch.testing.assert_close(crop_intrinsics(scaled, 4, 1)[:2, 2], torch.tensor([130.75, 88.625]))


def test_a_resize_moves_the_image_borders_onto_themselves() -> None:
    fit = fit_long_edge(300, 400, 200, 10)
    assert fit.from_original(torch.tensor([-0.5, -0.5])).tolist() == [-0.5, -0.5]
    assert fit.from_original(torch.tensor([399.5, 299.5])).tolist() == [199.5, 149.5]


@pytest.mark.parametrize(
    ("shape", "long_edge", "patch", "square_ok", "expected"),
    [
        ((720, 540), 512, 16, False, (512, 384)),
        ((480, 640), 512, 16, False, (384, 512)),
        ((1000, 1000), 512, 16, False, (384, 512)),
        ((1000, 1000), 518, 14, True, (518, 518)),
        ((1000, 1000), 518, 14, False, (378, 518)),
        ((720, 540), 518, 14, True, (518, 378)),
        ((1080, 1920), 512, 16, False, (288, 512)),
        ((100, 150), 512, 16, False, (336, 512)),
    ],
)
def test_published_sizes(
    shape: tuple[int, int], long_edge: int, patch: int, square_ok: bool, expected: tuple[int, int]
) -> None:
    fit = fit_long_edge(*shape, long_edge, patch, square_ok=square_ok)
    assert fit.cropped == expected
    assert 0 <= fit.left <= fit.resized[1] - expected[1] and 0 <= fit.top <= fit.resized[0] - expected[0]


def test_an_image_without_a_whole_patch_is_refused() -> None:
    with pytest.raises(DataError, match=r"10x2000.*below one patch of 14"):
        fit_long_edge(10, 2000, 518, 14)
    with pytest.raises(DataError, match="no content"):
        fit_long_edge(0, 10, 518, 14)
