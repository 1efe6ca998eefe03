"""The penalty of ridge regression; patch features against slicing by hand."""

import pytest
import torch

from codistill.errors import DataError
from codistill.tasks.distillation.ridge import fit_ridge, patch_features


def test_penalty_is_chosen_by_what_was_not_fitted() -> None:
    torch.manual_seed(0)
    weights = torch.randn(60, 4)

    def part(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(10, 60)
        return x, x @ weights + noise * torch.randn(10, 4)

    clean = fit_ridge([part(0.0) for _ in range(20)])[1]
    noisy = fit_ridge([part(30.0) for _ in range(20)])[1]
    assert clean < noisy


def test_patch_features_are_pixels_then_position_row_major() -> None:
    images = torch.randn(2, 3, 4, 6)
    features = patch_features(images, 2)
    assert features.shape == (2 * 6, 3 * 4 + 6)
    second_row_third_column = images[1, :, 2:4, 4:6].reshape(-1)
    torch.testing.assert_close(features[6 + 5, :12], second_row_third_column)
    assert features[6 + 5, 12:].tolist() == [0, 0, 0, 0, 0, 1]


def test_too_little() -> None:
    with pytest.raises(DataError, match="at least two batches"):
        fit_ridge([(torch.zeros(2, 2), torch.zeros(2, 1))])
