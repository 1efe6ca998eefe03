"""Moments and least squares against NumPy and scikit-learn, in parts and at once."""

import numpy as np
import torch
from sklearn.linear_model import Ridge

from codistill.student.moments import Moments


def vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 7, generator=generator) @ torch.randn(7, 7, generator=generator) + 2.0


def test_parts_give_the_covariance_of_the_whole() -> None:
    x = vectors()
    seen, squares = Moments(7), Moments(7, diagonal=True)
    for part in x.view(5, 4, 3, 7):
        seen.add(part)
        squares.add(part)
    expected = np.cov(x.double().numpy(), rowvar=False, bias=True)
    np.testing.assert_allclose(seen.covariance().numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(squares.covariance().numpy(), expected.diagonal(), rtol=1e-5)
    np.testing.assert_allclose(
        seen.second().numpy(), (x.double().T @ x.double() / 60).numpy(), rtol=1e-5, atol=1e-5
    )


def test_regression_is_ridge_regression() -> None:
    x = vectors()
    seen = Moments(7)
    seen.add(x)
    weight, bias = seen.regression(5, 1e-2)
    variance = x[:, :5].double().var(0, correction=0).mean().item()
    reference = Ridge(alpha=1e-2 * variance * len(x)).fit(
        x[:, :5].double().numpy(), x[:, 5:].double().numpy()
    )
    np.testing.assert_allclose(weight.numpy(), reference.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), reference.intercept_, rtol=1e-3, atol=1e-3)


def test_inputs_that_never_vary_get_no_weight() -> None:
    seen = Moments(3)
    seen.add(torch.tensor([[1.0, 1.0, 2.0], [1.0, 1.0, 4.0]]))
    weight, bias = seen.regression(2, 1e-3)
    assert torch.equal(weight, torch.zeros(1, 2)) and bias.item() == 3.0
