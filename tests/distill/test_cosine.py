"""The cosine's own gradient against PyTorch's function and finite differences, and vectors without a direction."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from codistill.distill.cosine import cosine_similarity


def pair(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 5, 7, generator=draw, dtype=dtype) for _ in range(2))
    return one.requires_grad_(), (3.0 * other + one.detach()).requires_grad_()


def test_finite_differences_agree() -> None:
    assert torch.autograd.gradcheck(cosine_similarity, pair(torch.float64))


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_values_and_gradients_are_pytorchs(wanted: tuple[bool, bool]) -> None:
    ours, theirs = ([x.requires_grad_(w) for x, w in zip(pair(), wanted, strict=True)] for _ in range(2))
    weights = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    found, expected = cosine_similarity(*ours), functional.cosine_similarity(*theirs, dim=-1)
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            torch.testing.assert_close(x.grad, y.grad)


def formula(one: Tensor, other: Tensor) -> Tensor:
    lengths = [x.norm(dim=-1).clamp(min=1e-8) for x in (one, other)]
    return (one * other).sum(-1) / (lengths[0] * lengths[1])


def test_short_vectors_count_as_of_the_least_length() -> None:
    given = torch.tensor([[0.0, 0.0], [1e-12, 0.0], [3.0, 4.0]])
    other = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0]])
    ours, exact = given.clone().requires_grad_(), given.double().requires_grad_()
    found, expected = cosine_similarity(ours, other), formula(exact, other.double())
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found, functional.cosine_similarity(given, other, dim=-1))
    assert ours.grad is not None and exact.grad is not None and ours.grad.isfinite().all()
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-6, atol=1e-7)
