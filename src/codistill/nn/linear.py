"""`nn.Linear` whose products are oneDNN's on a CPU: features in, features out, the same numbers but for rounding.

PyTorch gives fp32 products on a CPU to a BLAS, after copying the bias into the result. oneDNN adds the bias, and a
GELU where no gradient is wanted, while the result is still in the cache; forward and for the gradient of the input it
is also the faster of the two (`docs/scaling.md` has numbers). Weights are neither packed nor kept twice. Elsewhere
(other devices and dtypes, autocast, compilation, `torch.func`, quantized weights), and after
`torch.backends.mkldnn.set_flags(False)`, it is `nn.Linear`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

ONEDNN_LINEAR: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""Input, weight, bias and what follows in one operation, where PyTorch was built with it."""

_AVAILABLE = torch.backends.mkldnn.is_available() and ONEDNN_LINEAR is not None
_left_to_blas = False
_PLAIN = (Tensor, nn.Parameter)


@contextmanager
def left_to_blas() -> Iterator[None]:
    """Within it, `Linear` is `nn.Linear` in the whole process, for comparing the two."""
    global _left_to_blas
    before, _left_to_blas = _left_to_blas, True
    try:
        yield
    finally:
        _left_to_blas = before


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """x weightᵀ + bias, then nothing or `gelu` (exact), in one pass."""
    return ONEDNN_LINEAR(x, weight, bias, then, [], "none" if then == "gelu" else "")


class _Linear(torch.autograd.Function):
    """The product with its gradients; those of the weights are the BLAS's, which is faster there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        again = torch.is_grad_enabled()  # a second derivative is wanted, which oneDNN's operation has not
        return (
            (gradient @ weight if again else _product(gradient, weight.t(), None)) if of_x else None,
            rows.t() @ x.flatten(0, -2) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


class Linear(nn.Linear):
    """A drop-in `nn.Linear`, see the module's text."""

    def _by_onednn(self, x: Tensor) -> bool:
        return (
            _AVAILABLE
            and not _left_to_blas
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and x.numel() > 0
            and x.ndim > 1
            and type(x) in _PLAIN
            and type(self.weight) in _PLAIN
            and not torch.compiler.is_compiling()
            and not torch.is_autocast_enabled("cpu")
            and torch._C._get_mkldnn_enabled()
            and not torch._C._are_functorch_transforms_active()
        )

    def forward(self, input: Tensor) -> Tensor:
        """(…, channel) to (…, other channel)."""
        if not self._by_onednn(input):
            return linear(input, self.weight, self.bias)
        if torch.is_grad_enabled():
            return _Linear.apply(input, self.weight, self.bias)  # type: ignore[return-value]
        return _product(input, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """The exact GELU of the output; without gradients no second tensor of that width is made."""
        if torch.is_grad_enabled():
            return nn.functional.gelu(self(x))
        if self._by_onednn(x):
            return _product(x, self.weight, self.bias, "gelu")
        return torch.ops.aten.gelu_(self(x))
