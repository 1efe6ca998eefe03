"""oneDNN's products against PyTorch's in double precision: values, gradients, and what is left to PyTorch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.overrides import TorchFunctionMode

from codistill.nn import frozen_linear as frozen_module
from codistill.nn import linear as linear_module
from codistill.nn.linear import ONEDNN_LINEAR, Linear, left_to_blas, onednn_takes_bf16
from codistill.nn.products import count_flops, record_products

needs_onednn = pytest.mark.skipif(
    ONEDNN_LINEAR is None or not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN"
)


class Watch(TorchFunctionMode):
    """Counts calls of oneDNN's linear operation."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += getattr(func, "overloadpacket", func) is ONEDNN_LINEAR
        return func(*args, **(kwargs or {}))


needs_bf16 = pytest.mark.skipif(not onednn_takes_bf16(), reason="a processor without products in bf16")


def onednn_calls(call: Callable[[], object]) -> int:
    with Watch() as watch:
        call()
    return watch.count


def pair(inner: int, outer: int, bias: bool = True) -> tuple[Linear, nn.Linear]:
    """The layer, and PyTorch's own of the same weights in double precision."""
    torch.manual_seed(0)
    layer, reference = Linear(inner, outer, bias), nn.Linear(inner, outer, bias).double()
    reference.load_state_dict(layer.state_dict())
    return layer, reference


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 5)])
def test_values_and_gradients_are_those_of_double_precision(shape: tuple[int, ...], bias: bool) -> None:
    layer, reference = pair(48, 80, bias)
    x = torch.randn(*shape, 48, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    assert onednn_calls(lambda: layer(x)) == 1
    out, expected = layer(x), reference(exact)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-6)
    gradient = torch.randn(*shape, 80)
    out.backward(gradient)
    expected.backward(gradient.double())
    for found, wanted in [(x, exact), *zip(layer.parameters(), reference.parameters(), strict=True)]:
        assert found.grad is not None and wanted.grad is not None
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_gelu_is_exact_and_one_operation_without_gradients() -> None:
    layer, reference = pair(48, 80)
    x = 3 * torch.randn(4, 9, 48)
    expected = gelu(reference(x.double()))
    torch.testing.assert_close(layer.gelu(x).double(), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert onednn_calls(lambda: layer.gelu(x)) == 1
        torch.testing.assert_close(layer.gelu(x).double(), expected, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        torch.testing.assert_close(layer.gelu(x).double(), expected, rtol=1e-5, atol=1e-6)


def test_parts_of_a_tensor_go_in_and_transposed_gradients_come_back() -> None:
    layer, reference = pair(48, 80)
    whole = torch.randn(4, 9, 96)
    for x in (whole[:, 1:, 48:], whole[:, :, ::2], torch.randn(48, 7, 3).transpose(0, 2)):
        torch.testing.assert_close(layer(x).double(), reference(x.double()), rtol=1e-5, atol=1e-6)
    x = torch.randn(4, 9, 48, requires_grad=True)
    (found,) = torch.autograd.grad(layer(x).transpose(1, 2).sum(), x)  # an expanded, transposed gradient
    torch.testing.assert_close(found[0, 0], layer.weight.sum(0), rtol=1e-5, atol=1e-5)


@needs_bf16
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_under_autocast_rounds_as_pytorch_does(dtype: torch.dtype, bias: bool) -> None:
    layer, exact = pair(48, 80, bias)
    plain = nn.Linear(48, 80, bias)
    plain.load_state_dict(layer.state_dict())
    draw = torch.randn(3, 7, 48).to(dtype)
    gradient = torch.randn(3, 7, 80)
    found = []
    for model in (layer, plain, exact):
        x = draw.double() if model is exact else draw.clone()
        x.requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model is not exact):
            assert onednn_calls(lambda m=model, x=x: m(x)) == (model is layer)
            out = model(x)
        out.backward(gradient.to(out.dtype))
        found.append([out.detach(), x.grad, *(p.grad for p in model.parameters())])
    for ours, theirs, wanted in zip(*found, strict=True):
        assert ours is not None and theirs is not None and wanted is not None
        assert ours.dtype == theirs.dtype and ours.is_contiguous()
        error, theirs_error = ((x.double() - wanted).norm() / wanted.norm() for x in (ours, theirs))
        assert error <= 1.05 * theirs_error and theirs_error < 0.01


@needs_bf16
def test_a_gradient_in_bf16_can_be_differentiated_again() -> None:
    layer, exact = pair(8, 6)
    x, slopes = torch.randn(3, 8), []
    for model, given in ((layer, x), (exact, x.double())):
        given = given.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model is layer):
            (slope,) = torch.autograd.grad(model(given).square().sum(), given, create_graph=True)
        slope.square().sum().backward()
        slopes.append([given.grad, model.weight.grad])
    for found, wanted in zip(*slopes, strict=True):
        assert (found.double() - wanted).norm() / wanted.norm() < 0.03


def test_frozen_parts_get_no_gradient() -> None:
    layer, _ = pair(8, 6)
    layer.weight.requires_grad_(False)
    layer(torch.randn(3, 8)).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.full((6,), 3.0))


def test_a_gradient_can_be_differentiated_again() -> None:
    layer, reference = pair(8, 6)
    x = torch.randn(3, 8, requires_grad=True)
    exact = x.detach().double().requires_grad_()

    def penalty(model: nn.Module, x: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        return slope.square().sum()

    penalty(layer, x).backward()
    penalty(reference, exact).backward()
    for found, wanted in [(x, exact), (layer.weight, reference.weight)]:
        assert found.grad is not None and wanted.grad is not None
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", ["double", "empty", "vector", "autocast", "switched off", "left to BLAS", "vmap", "compiled"]
)
def test_other_cases_are_left_to_pytorch(case: str) -> None:
    layer, _ = pair(8, 6)
    plain = nn.Linear(8, 6)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(3, 8)
    if case == "double":
        layer, plain, x = layer.double(), plain.double(), x.double()
    elif case == "empty":
        x = x[:0]
    elif case == "vector":
        x = x[0]

    def call(model: nn.Module) -> Tensor:
        if case == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
                return model(x)
        if case == "switched off":
            with torch.backends.mkldnn.flags(enabled=False):
                return model(x)
        if case == "left to BLAS":
            with left_to_blas():
                return model(x)
        if case == "vmap":
            return torch.func.vmap(model)(x)
        if case == "compiled":
            return torch.compile(model, backend="eager", fullgraph=True)(x)
        return model(x)

    if case != "compiled":  # another mode of PyTorch would break the graph
        assert onednn_calls(lambda: call(layer)) == 0
    assert torch.equal(call(layer), call(plain))


@needs_onednn
@needs_onednn
@pytest.mark.parametrize("inside", [True, False])
def test_gelu_in_the_product_or_after_it(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_module, "GELU_IN_PRODUCT", inside)
    monkeypatch.setattr(frozen_module, "GELU_IN_PRODUCT", inside)
    layer, x = Linear(8, 16), torch.randn(4, 5, 8)
    frozen = frozen_module.FrozenLinear((layer.weight.detach(), layer.bias.detach()), torch.float32)
    with torch.no_grad():
        plain = nn.functional.linear(x, layer.weight, layer.bias)
        for found in (layer.gelu(x), frozen.gelu(x)):
            torch.testing.assert_close(found, nn.functional.gelu(plain))
        torch.testing.assert_close(frozen.gelu(x, "tanh"), nn.functional.gelu(plain, approximate="tanh"))


def test_operations_and_products_count_as_of_any_linear_layer() -> None:
    layer, plain = Linear(8, 16), nn.Linear(8, 16)
    x = torch.randn(4, 5, 8, requires_grad=True)
    found, expected = (record_products(lambda m=m: m(x).square().sum().backward()) for m in (layer, plain))
    assert found == expected
    assert count_flops(lambda: layer(x).square().sum().backward()) == 3 * 2 * 20 * 8 * 16
    with torch.inference_mode():
        assert count_flops(lambda: layer.gelu(x)) == 2 * 20 * 8 * 16


@needs_onednn
@pytest.mark.parametrize("right", [torch.randn(6, 3), torch.randn(3, 6).t()])
def test_a_product_can_be_timed_by_onednn(right: Tensor) -> None:
    (product,) = record_products(lambda: torch.randn(6, 4).t() @ right)
    call = product.onednn_call()
    assert call is not None and call().shape == (4, 3)
    (batched,) = record_products(lambda: torch.randn(2, 4, 6) @ torch.randn(2, 6, 3))
    assert batched.onednn_call() is None
