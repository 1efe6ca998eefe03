"""A frozen linear layer in 8-bit integers on a CPU, with the interface of `FrozenLinear`.

Weights are quantized once, per output channel. Inputs are quantized in every call, with one scale and offset from their
smallest and largest value. oneDNN multiplies unsigned inputs by signed weights (VNNI), and in the same pass scales the
sums, adds the bias and applies the GELU. Source: LLM.int8 (arXiv 2208.07339), here with one input scale per tensor and
without outlier columns.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from codistill.nn.folding import Folded

_PACK: Any = getattr(torch.ops.onednn, "qlinear_prepack", None)
_PRODUCT: Any = getattr(torch.ops.onednn, "qlinear_pointwise", None)
_LARGEST = 127.0
_LEVELS = 255.0
_SIGN = 128.0


def int8_is_fast() -> bool:
    """Whether this processor multiplies 8-bit integers (VNNI), and PyTorch was built with oneDNN for it."""
    supported: Any = getattr(torch.cpu, "_is_vnni_supported", None)
    return _PACK is not None and _PRODUCT is not None and supported is not None and bool(supported())


class Int8Linear(nn.Module):
    """x weightᵀ + bias, approximately.

    Args:
        folded: weight (output, input) and bias (output,).
        dtype: dtype of outputs.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = folded
        scale = (weight.abs().amax(1) / _LARGEST).clamp(min=1e-12)
        self.dtype = dtype
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8), persistent=False)
        self.register_buffer("scale", scale.float(), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)
        self._packed: Tensor | None = None

    def _apply(self, *args: Any, **options: Any) -> "Int8Linear":
        self._packed = None
        return super()._apply(*args, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}  # oneDNN's packed weights cannot be copied or pickled

    def _product(self, x: Tensor, dtype: torch.dtype, then: str = "none", how: str = "") -> Tensor:
        rows = x.flatten(0, -2)
        if self._packed is None:
            self._packed = _PACK(self.weight, list(rows.shape))
        numbers, scale, zero = eight_bits(rows)
        zeros = torch.zeros(1, dtype=torch.int32)  # zero points of the weights, which have no offset
        out = _PRODUCT(
            numbers, scale, zero, self._packed, self.scale, zeros, self.bias, 1.0, 0, dtype, then, [], how
        )
        return out.unflatten(0, x.shape[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, input) to (…, output)."""
        return self._product(x, self.dtype)

    def gelu(self, x: Tensor, approximate: str = "none") -> Tensor:
        """GELU of the output, `none` (exact) or `tanh`, in fp32, because the next layer quantizes it."""
        return self._product(x, torch.float32, "gelu", approximate)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + output."""
        return self._product(x, self.dtype).add_(residual)


def eight_bits(x: Tensor) -> tuple[Tensor, float, int]:
    """Quantize to unsigned 8-bit integers q, a scale and a zero point: x ≈ scale · (q - zero point), exact for x = 0.

    PyTorch's cast of floats to signed bytes is vectorized, that to unsigned bytes is not; therefore q - 128 is cast. If
    a value is not finite, the scale is NaN, and so are the results computed with it.
    """
    low, high = (float(bound) for bound in torch.aminmax(x))
    low, high = min(low, 0.0), max(high, 0.0)
    if not math.isfinite(high - low):
        return torch.zeros(x.shape, dtype=torch.uint8), math.nan, 0
    scale = max((high - low) / _LEVELS, 1e-12)
    zero = round(-low / scale)
    shifted = torch.add(torch.tensor(zero - _SIGN), x.float(), alpha=1.0 / scale)  # one pass
    signed = shifted.clamp_(-_SIGN, _LEVELS - _SIGN).round_().to(torch.int8)
    return signed.bitwise_xor_(-int(_SIGN)).view(torch.uint8), scale, zero
