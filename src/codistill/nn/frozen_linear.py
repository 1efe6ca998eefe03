"""A linear layer with constant weights in one dtype, fused with a GELU or a residual where the backend supports it.

On a CPU, oneDNN multiplies by weights in its own layout, into which they are packed at the first call. It applies the
GELU or adds the residual while the result is in the cache. On CUDA in bf16, the GELU is the epilogue of the matrix
product; it has the tanh form, whose largest error, 5e-4, is below the rounding of bf16. Elsewhere the operations run
one after the other. There are no gradients. The weights are non-persistent buffers, which no state dict contains,
because they derive from a network that was loaded elsewhere.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from codistill.nn.folding import Folded
from codistill.nn.linear import GELU_IN_PRODUCT, ONEDNN_LINEAR, onednn_takes_bf16
from codistill.nn.tracing import is_tracing

_PACK: Any = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
_LINEAR = cast(Any, ONEDNN_LINEAR)
_AVAILABLE = torch.backends.mkldnn.is_available() and ONEDNN_LINEAR is not None and _PACK is not None


def onednn_computes_in(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes matrix products in a dtype on this processor."""
    return _AVAILABLE and (dtype == torch.float32 or (dtype == torch.bfloat16 and onednn_takes_bf16()))


class FrozenLinear(nn.Module):
    """x weightᵀ + bias, in the weights' dtype.

    Args:
        folded: weight (output, input) and bias (output,).
        dtype: dtype of the weights and of inputs.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded
        self.register_buffer("weight", weight.to(dtype).contiguous(), persistent=False)
        self.register_buffer("bias", bias.to(dtype), persistent=False)
        self._packed: Tensor | None = None

    def _apply(self, *args: Any, **options: Any) -> "FrozenLinear":
        self._packed = None
        return super()._apply(*args, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}  # oneDNN's packed weights cannot be copied or pickled

    def _by_onednn(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.numel() > 0
            and x.dtype == self.weight.dtype
            and onednn_computes_in(x.dtype)
            and not torch.compiler.is_compiling()
            and not is_tracing()  # oneDNN's operator cannot be traced
            and torch._C._get_mkldnn_enabled()
            and not torch._C._are_functorch_transforms_active()
        )

    def _weight(self, x: Tensor) -> Tensor:
        if self._packed is None:
            assert _PACK is not None  # `_by_onednn` was True
            self._packed = _PACK(self.weight, x.shape[:-1].numel())
        assert self._packed is not None
        return self._packed

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, input) to (…, output)."""
        if self._by_onednn(x):
            return _LINEAR(x, self._weight(x), self.bias, "none", [], "")
        return linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor, approximate: str = "none") -> Tensor:
        """GELU of the output, `none` (exact) or `tanh`."""
        if self._by_onednn(x):
            if GELU_IN_PRODUCT:
                return _LINEAR(x, self._weight(x), self.bias, "gelu", [], approximate)
            product = _LINEAR(x, self._weight(x), self.bias, "none", [], "")
            return torch.ops.aten.gelu_(product, approximate=approximate)
        if x.device.type == "cuda" and x.dtype == torch.bfloat16 and not torch.compiler.is_compiling():
            rows = torch.ops.aten._addmm_activation(
                self.bias, x.flatten(0, -2), self.weight.t(), use_gelu=True
            )
            return rows.unflatten(0, x.shape[:-1])
        return torch.ops.aten.gelu_(linear(x, self.weight, self.bias), approximate=approximate)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + output."""
        if self._by_onednn(x) and residual.is_contiguous():
            return _LINEAR.binary(x, residual, self._weight(x), self.bias, "add")
        return residual + linear(x, self.weight, self.bias)
