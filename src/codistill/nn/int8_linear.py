"""A frozen linear layer in 8-bit integers on a CPU, in place of a `FrozenLinear`: the same calls, rounded further.

Weights are rounded once, per output channel; inputs in every call, by one scale and offset between the least and the
largest of them. oneDNN multiplies unsigned inputs by signed weights (VNNI) and scales the sums, with bias and GELU, in
the same pass. Source: LLM.int8 (arXiv 2208.07339), here with one scale per tensor and without outlier columns.
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
        dtype: of outputs.
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
        return {**self.__dict__, "_packed": None}  # for copies: oneDNN's layout cannot be copied

    def _product(self, x: Tensor, dtype: torch.dtype, then: str = "none", how: str = "") -> Tensor:
        rows = x.flatten(0, -2)
        if self._packed is None:
            self._packed = _PACK(self.weight, list(rows.shape))
        numbers, scale, zero = eight_bits(rows)
        zeros = torch.zeros(1, dtype=torch.int32)  # of the weights, which have no offset
        out = _PRODUCT(
            numbers, scale, zero, self._packed, self.scale, zeros, self.bias, 1.0, 0, dtype, then, [], how
        )
        return out.unflatten(0, x.shape[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(…, input) to (…, output)."""
        return self._product(x, self.dtype)

    def gelu(self, x: Tensor, approximate: str = "none") -> Tensor:
        """GELU of the output, `none` (exact) or `tanh`, in fp32: the next layer rounds it."""
        return self._product(x, torch.float32, "gelu", approximate)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """residual + output."""
        return self._product(x, self.dtype).add_(residual)


def eight_bits(x: Tensor) -> tuple[Tensor, float, int]:
    """Numbers as unsigned 8-bit integers q, a scale and a zero point: x = scale · (q - zero point), 0 exactly.

    PyTorch's cast of floats to unsigned bytes is a plain loop, to signed ones it is not: q - 128 is cast. Where a
    number is not finite, the scale is NaN, so that what is computed from it is.
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
