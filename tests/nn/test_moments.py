"""Moments and least squares against NumPy and scikit-learn, in parts and at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from codistill.errors import DataError
from codistill.nn.moments import Moments, RidgeSums, channel_sums


def vectors(mean: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 7, generator=generator) @ torch.randn(7, 7, generator=generator) + mean


def test_parts_give_the_covariance_of_the_whole() -> None:
    x = vectors()
    seen, squares = Moments(7), Moments(7, diagonal=True)
    for part in x.view(5, 4, 3, 7):
        seen.add(part)
        squares.add(part)
    assert seen.count == squares.count == 60
    for correction in (0, 1):
        expected = np.cov(x.double().numpy(), rowvar=False, ddof=correction)
        np.testing.assert_allclose(seen.covariance(correction), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(squares.covariance(correction), expected.diagonal(), rtol=1e-5)
    second = (x.double().T @ x.double() / 60).numpy()
    np.testing.assert_allclose(seen.second(), second, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(squares.second(), second.diagonal(), rtol=1e-5)
    np.testing.assert_allclose(squares.mean(), seen.mean(), rtol=1e-6)


def test_a_mean_much_larger_than_the_deviation_cancels_nothing() -> None:
    x = vectors(1e4)
    seen, squares = Moments(7), Moments(7, diagonal=True)
    for part in x.split(20):
        seen.add(part)
        squares.add(part)
    expected = np.cov(x.double().numpy(), rowvar=False, bias=True)
    np.testing.assert_allclose(seen.covariance(), expected, rtol=1e-2, atol=2e-2)
    np.testing.assert_allclose(squares.covariance(), expected.diagonal(), rtol=1e-2)


def test_sums_of_two_ranks_add_up_and_fp64_stays_fp64() -> None:
    x = vectors(1e4).double()
    here, there, both = Moments(7), Moments(7), Moments(7)
    here.add(x[:25])
    there.add(x[25:])
    both.add(x)
    here.packed += there.packed
    torch.testing.assert_close(here.covariance(), both.covariance(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(both.covariance(1), np.cov(x.numpy(), rowvar=False), rtol=1e-6, atol=1e-6)
    assert channel_sums(x).dtype == channel_sums(x.bfloat16()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("intercept", [True, False])
def test_regression_is_ridge_regression(intercept: bool, dtype: torch.dtype) -> None:
    x = vectors()
    sums = RidgeSums(intercept=intercept, dtype=dtype)
    for part in x.split(25):
        sums.add(part[:, :5], part[:, 5:])
    weight, bias = sums.solve(1e-2 * sums.variance())
    inputs = x[:, :5].double()
    spread = inputs.var(0, correction=0) if intercept else inputs.square().mean(0)
    reference = Ridge(alpha=1e-2 * spread.mean().item() * len(x), fit_intercept=intercept)
    reference.fit(inputs.numpy(), x[:, 5:].double().numpy())
    np.testing.assert_allclose(weight.T, reference.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bias, np.broadcast_to(reference.intercept_, 2), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sums.means()[1], x[:, 5:].mean(0), rtol=1e-5)


def test_inputs_that_never_vary_get_no_weight() -> None:
    sums = RidgeSums()
    sums.add(torch.ones(2, 2), torch.tensor([[2.0], [4.0]]))
    weight, bias = sums.solve(1e-30)
    assert torch.equal(weight, torch.zeros_like(weight)) and bias.item() == 3.0


def test_nothing_to_fit() -> None:
    with pytest.raises(DataError, match="no rows"):
        RidgeSums().solve(1.0)
