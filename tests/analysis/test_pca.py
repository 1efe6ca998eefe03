"""PCA against scikit-learn, streaming, aligned colours."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from codistill.analysis.colours import colour_columns
from codistill.analysis.pca import align_axes, fit_pca
from codistill.errors import DataError
from codistill.types import Tokens


def data(images: int = 5) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6))
    return [torch.tensor(rng.normal(size=(40, 6)) * [9, 5, 3, 1, 0.5, 0.1] @ mix + 50) for _ in range(images)]


def test_equals_scikit_learn_whatever_the_parts() -> None:
    parts = data()
    basis = fit_pca(parts)
    reference = PCA().fit(torch.cat(parts).numpy())
    np.testing.assert_allclose(basis.variance, reference.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(basis.explained(), reference.explained_variance_ratio_.cumsum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(basis.axes @ reference.components_[:3].T), np.eye(3), atol=1e-9)
    whole = fit_pca([torch.cat(parts)])
    torch.testing.assert_close(whole.axes, basis.axes, atol=1e-9, rtol=0)


def test_colours_use_the_range() -> None:
    parts = data()
    colours = fit_pca(parts).colours(torch.cat(parts))
    assert colours.min() == 0
    assert colours.max() == 1
    assert ((colours == 0) | (colours == 1)).double().mean() < 0.05


def test_aligned_axes_follow_a_permuted_and_flipped_basis() -> None:
    parts = data()
    basis, x = fit_pca(parts), torch.cat(parts)
    reference = basis.project(x)[:, [2, 0, 1]] * torch.tensor([-1.0, 1.0, -1.0])
    aligned = align_axes(basis, x, reference)
    torch.testing.assert_close(aligned.project(x), reference)
    assert (aligned.low < aligned.high).all()


def test_too_little_or_not_finite() -> None:
    with pytest.raises(DataError, match="at least two finite tokens"):
        fit_pca([torch.zeros(1, 3)])
    with pytest.raises(DataError, match="at least one image"):
        fit_pca([])
    with pytest.raises(DataError, match="finite"):
        fit_pca([torch.full((4, 3), torch.nan)])


def test_shared_basis_gives_equal_features_equal_colours() -> None:
    torch.manual_seed(0)
    first = [Tokens(patches=torch.randn(1, 12, 6), grid=(3, 4)) for _ in range(2)]
    second = [Tokens(patches=t.patches + 0.01, grid=t.grid) for t in first]
    narrow = [Tokens(patches=t.patches[..., :5], grid=t.grid) for t in first]
    shared = colour_columns([first, second, narrow], shared_basis=True)
    assert [len(column) for column in shared] == [2, 2, 2]
    np.testing.assert_allclose(shared[0][0], shared[1][0], atol=0.05)
    own = colour_columns([first, first], separate=True)
    np.testing.assert_allclose(own[0][1], own[1][1])
    assert own[0][0].shape == (3, 4, 3)
