"""Sums of exponentials over rows and columns, against PyTorch's two logsumexp and their gradients."""

import pytest
import torch
from torch.nn.functional import normalize

from codistill.heads.two_view.log_sums import log_sums
from codistill.heads.two_view.losses import info_nce


def _descriptors(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    first, second = (normalize(torch.randn(2, count, channels, generator=draws), dim=-1) for count in (7, 5))
    return first, second


@pytest.mark.parametrize("bound", [1.0, 20.0, 40.0])
def test_sums_are_those_of_logsumexp(bound: float) -> None:
    first, second = _descriptors(6)
    score = (bound * first.double()) @ second.double().transpose(1, 2)
    rows, columns = log_sums(bound * first, second, bound)
    torch.testing.assert_close(rows.double(), score.logsumexp(2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(columns.double(), score.logsumexp(1), rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    first, second = (one.double().requires_grad_() for one in _descriptors(4))
    assert torch.autograd.gradcheck(lambda a, b: log_sums(a, b, 1.0), (first, second))


def test_loss_of_unit_descriptors_and_its_gradient_are_the_plain_ones() -> None:
    draws = torch.Generator().manual_seed(1)
    values = [normalize(torch.randn(3, 64, 16, generator=draws), dim=-1) for _ in range(2)]
    values[1] = normalize(values[0] + 0.3 * values[1], dim=-1)  # true correspondences are alike
    weights = torch.rand(3, 64, generator=draws)
    found = []
    for unit, kind in ((True, torch.float32), (False, torch.float64)):
        leaves = [value.detach().to(kind).requires_grad_() for value in values]
        loss = info_nce(leaves[0], leaves[1], 0.05, unit=unit)
        (loss * weights).sum().backward()
        found.append((loss.detach(), *(leaf.grad for leaf in leaves)))
    bounds = (3e-5, 1e-4, 1e-4)  # scores of 20 in fp32 are known to 2e-6; gradients grow by 1 / temperature
    for one, exact, bound in zip(*found, bounds, strict=True):
        assert one is not None
        assert exact is not None
        assert (one - exact).abs().max() < bound


def test_opposite_descriptors_at_a_low_temperature_stay_finite() -> None:
    first = normalize(torch.ones(1, 4, 3), dim=-1).requires_grad_()
    loss = info_nce(first, -first.detach(), 0.01, unit=True)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
