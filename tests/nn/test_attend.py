"""Attention by three products against the formula in double precision, its gradients, and who gets PyTorch's kernel."""

import pytest
import torch
from torch import Tensor

from codistill.nn import attend
from codistill.nn.attend import attention


@pytest.fixture(autouse=True)
def no_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every processor as on one without AMX."""
    monkeypatch.setattr(attend, "kernel_has_tiles", lambda: False)


def parts(dtype: torch.dtype, *, gradients: bool = False, offset: float = 0.0) -> list[Tensor]:
    """Queries, keys and values as a fused qkv layer gives them: strided; keys share an offset."""
    draw = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 37, 3, 2, 16, generator=draw)
    qkv[:, :, 1] += offset
    return [part.transpose(1, 2).requires_grad_(gradients) for part in qkv.to(dtype).unbind(2)]


def formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, -1) @ value


@pytest.mark.parametrize("scores_at_once", [1, 3000, 2**21])
def test_values_are_those_of_the_formula(monkeypatch: pytest.MonkeyPatch, scores_at_once: int) -> None:
    monkeypatch.setattr(attend, "_AT_ONCE", scores_at_once)
    given = parts(torch.bfloat16)
    found, expected = attention(*given), formula(*(x.double() for x in given))
    assert found.shape == expected.shape and found.dtype == torch.bfloat16
    assert (found - expected).norm() / expected.norm() < 0.006


def test_gradients_are_those_of_the_formula() -> None:
    given = parts(torch.bfloat16, gradients=True)
    exact = [x.detach().double().requires_grad_() for x in given]
    weights = torch.randn(3, 2, 37, 16, dtype=torch.float64)
    (attention(*given).double() * weights).sum().backward()
    (formula(*exact) * weights).sum().backward()
    for x, y in zip(given, exact, strict=True):
        assert x.grad is not None and y.grad is not None
        assert (x.grad - y.grad).norm() / y.grad.norm() < 0.015


def test_an_offset_that_all_keys_share_costs_no_digits() -> None:
    given = parts(torch.bfloat16, offset=20.0)  # scores of hundreds, which bf16 rounds to whole numbers
    expected = formula(*(x.double() for x in given))
    query, key, value = given
    naive = torch.softmax(query @ key.transpose(-2, -1) / 4, -1) @ value
    error, naive_error = ((y - expected).norm() / expected.norm() for y in (attention(*given), naive))
    assert error < 0.006 and 5 * error < naive_error


def test_fp32_and_compiled_code_get_pytorchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Tensor:
        raise AssertionError("by products")

    monkeypatch.setattr(attend, "_in_parts", refused)
    given = parts(torch.float32)
    torch.testing.assert_close(attention(*given), formula(*given))
    with pytest.raises(AssertionError, match="by products"):
        attention(*parts(torch.bfloat16))
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    assert compiled(*parts(torch.bfloat16)).shape == (3, 2, 37, 16)
    monkeypatch.setattr(attend, "_KEPT", 10)
    attention(*parts(torch.bfloat16, gradients=True)).sum().backward()


def test_with_tiles_pytorchs_kernel_takes_what_needs_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "kernel_has_tiles", lambda: True)
    monkeypatch.setattr(attend, "_in_parts", None)  # not called
    given = parts(torch.bfloat16)
    expected = formula(*(x.double() for x in given))
    assert (attention(*given) - expected).norm() / expected.norm() < 0.006
    trained = parts(torch.bfloat16, gradients=True)
    assert "_Attention" in type(attention(*trained).grad_fn).__name__
    with torch.no_grad():
        assert torch.equal(attention(*trained), attention(*given))


def test_a_given_scale_and_other_keys() -> None:
    query, key, value = parts(torch.bfloat16)
    found = attention(query[:, :, :5], key, value, scale=1.0)
    expected = formula(4.0 * query[:, :, :5].double(), key.double(), value.double())
    assert (found - expected).norm() / expected.norm() < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hidden_keys_are_as_if_they_were_not_there(dtype: torch.dtype) -> None:
    given = parts(dtype, gradients=True)
    seen = torch.arange(37) % 3 != 1
    mask = seen.expand(3, 1, 37, 37)  # of each batch, the same for all heads
    found = attention(*given, mask=mask)
    query, key, value = (x.detach().double().requires_grad_() for x in given)
    expected = formula(query, key[:, :, seen], value[:, :, seen])
    assert (found - expected).norm() / expected.norm() < 0.006
    weights = torch.randn(3, 2, 37, 16, dtype=torch.float64)
    (found.double() * weights).sum().backward()
    (expected * weights).sum().backward()
    for x, y in zip(given, (query, key, value), strict=True):
        assert x.grad is not None and y.grad is not None
        assert (x.grad - y.grad).norm() / y.grad.norm() < 0.015
    assert given[2].grad is not None and not given[2].grad[:, :, ~seen].any()
