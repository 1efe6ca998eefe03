"""`nn.Linear` that uses oneDNN's matrix products on a CPU; its results equal those of `nn.Linear` up to rounding.

PyTorch computes fp32 products on a CPU with a BLAS, after copying the bias into the result. oneDNN adds the bias, and
applies a GELU where no gradient is needed, while the result is still in the cache. It is also faster than the BLAS in
the forward pass and for the gradient of the input (`docs/scaling.md` has numbers). Weights are neither packed nor
stored twice. oneDNN is also used in training under autocast to bf16, where PyTorch again copies the bias into the
result, and transposes the gradient of the weights after computing it. In all other cases (other devices and dtypes,
autocast without gradients, compilation, `torch.func`, quantized weights), and after
`torch.backends.mkldnn.set_flags(False)`, the layer is `nn.Linear`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from codistill.nn.tracing import is_tracing

ONEDNN_LINEAR: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""oneDNN's operator of input, weight, bias and a fused operation; None if PyTorch was built without it."""

GELU_IN_PRODUCT = "AVX512" in torch.backends.cpu.get_cpu_capability()
"""Whether oneDNN's fused GELU is as fast as a separate one of PyTorch; with only AVX2 it takes four times as long."""
_AVAILABLE = torch.backends.mkldnn.is_available() and ONEDNN_LINEAR is not None
_BF16: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
_left_to_blas = False
_PLAIN = (Tensor, nn.Parameter)


def onednn_takes_bf16() -> bool:
    """Whether oneDNN computes matrix products in bf16 on this processor."""
    return _AVAILABLE and bool(_BF16 and _BF16())


@contextmanager
def left_to_blas() -> Iterator[None]:
    """Context in which `Linear` is `nn.Linear` in the whole process, to compare the two."""
    global _left_to_blas
    before, _left_to_blas = _left_to_blas, True
    try:
        yield
    finally:
        _left_to_blas = before


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """x weightᵀ + bias, followed by nothing or by `gelu` (exact), in one pass."""
    return ONEDNN_LINEAR(x, weight, bias, then, [], "none" if then == "gelu" else "")


class _Linear(torch.autograd.Function):
    """The product in the input's dtype, with gradients; the BLAS computes the weights' gradient, where it is faster.

    In bf16 the weights are copied to bf16, and their gradient is rounded to bf16, as under autocast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        ctx.rounded = rounded = weight.to(x.dtype)  # `weight` itself if x is fp32
        return _product(x, rounded, None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        again = torch.is_grad_enabled()  # a second derivative is wanted, which oneDNN's operator lacks
        rounded = weight.to(x.dtype) if again else ctx.rounded
        plain = again or x.dtype != torch.float32  # in bf16 PyTorch itself calls oneDNN
        return (
            (gradient @ rounded if plain else _product(gradient, rounded.t(), None)) if of_x else None,
            (rows.t() @ x.flatten(0, -2)).to(weight.dtype) if of_weight else None,
            rows.sum(0).to(weight.dtype) if of_bias else None,
        )


class Linear(nn.Linear):
    """A drop-in replacement of `nn.Linear`, see the module docstring."""

    def _onednn_dtype(self, x: Tensor) -> torch.dtype | None:
        """The dtype in which oneDNN computes the product; None if PyTorch computes it."""
        if not (
            _AVAILABLE
            and not _left_to_blas
            and x.device.type == "cpu"
            and self.weight.dtype == torch.float32
            and x.numel() > 0
            and x.ndim > 1
            and type(x) in _PLAIN
            and type(self.weight) in _PLAIN
            and not torch.compiler.is_compiling()
            and not is_tracing()  # oneDNN's operator cannot be traced
            and torch._C._get_mkldnn_enabled()
            and not torch._C._are_functorch_transforms_active()
        ):
            return None
        if not torch.is_autocast_enabled("cpu"):
            return x.dtype if x.dtype == torch.float32 else None
        trained = torch.is_grad_enabled() and self.weight.requires_grad
        given = x.dtype in (torch.float32, torch.bfloat16)
        wanted = torch.get_autocast_dtype("cpu")
        return wanted if trained and given and wanted == torch.bfloat16 and onednn_takes_bf16() else None

    def forward(self, input: Tensor) -> Tensor:
        """Map (…, channel) to (…, other channel)."""
        dtype = self._onednn_dtype(input)
        if dtype is None:
            return linear(input, self.weight, self.bias)
        if torch.is_grad_enabled():
            return _Linear.apply(input.to(dtype), self.weight, self.bias)  # type: ignore[return-value]
        return _product(input, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Exact GELU of the output; without gradients it allocates no second tensor of that width."""
        # The tracer compares its graph with one without gradients.
        if torch.is_grad_enabled() or is_tracing():
            return nn.functional.gelu(self(x))
        if self._onednn_dtype(x) is not None:
            if GELU_IN_PRODUCT:
                return _product(x, self.weight, self.bias, "gelu")
            return torch.ops.aten.gelu_(_product(x, self.weight, self.bias))
        return torch.ops.aten.gelu_(self(x))
