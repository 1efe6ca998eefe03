"""The matrix products of a computation: their shapes, numbers of operations, and their speed in isolation.

In: any call. Out: its products with shapes and memory layouts, and the same products on random numbers, to be timed.
Their time is a lower bound of the call's time: the rest (norms, activations, losses, copies, the optimizer) is
overhead.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from codistill.nn.linear import ONEDNN_LINEAR

_ATEN = torch.ops.aten
_OPERANDS = {
    _ATEN.mm: (0, 1),
    _ATEN.addmm: (1, 2),
    _ATEN._addmm_activation: (1, 2),
    _ATEN.bmm: (0, 1),
    _ATEN.baddbmm: (1, 2),
}
"""Operators that compute one matrix product each, and the positions of the two arguments that they multiply."""


def _attention_flops(
    query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any
) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward_flops(
    grad: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any
) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


def _linear_flops(x: Any, second: Any, third: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """Operations for the arguments input, weight, bias, …, or input, added tensor, weight, bias, …."""
    weight = third if third is not None and len(third) == 2 else second
    return 2 * math.prod(x) * weight[0]


# PyTorch's counter knows only CUDA's attention kernels, and no operator of oneDNN.
_CPU_KERNELS: dict[Any, Any] = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
    **({} if ONEDNN_LINEAR is None else {ONEDNN_LINEAR: _linear_flops}),
}


def count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of a call, forward and backward; a multiply-add counts as two.

    Products, convolutions and attention are counted as by PyTorch's `FlopCounterMode`.
    """
    with FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS) as counter:
        call()
    return counter.get_total_flops()


@dataclass(frozen=True)
class Operand:
    """Shape and memory layout of one factor of a product."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def random(self) -> Tensor:
        """A normally distributed tensor of this layout."""
        tensor = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
        return tensor.normal_()


@dataclass(frozen=True)
class Product:
    """A matrix product (…, row, inner) x (…, inner, column), described by the layouts of its factors."""

    left: Operand
    right: Operand

    @property
    def flops(self) -> int:
        """Number of operations: a multiplication and an addition for every pair of factors."""
        count = 2 * self.right.shape[-1]
        for size in self.left.shape:
            count *= size
        return count

    @property
    def label(self) -> str:
        """Label such as `828x384x1536`: rows, inner size, columns, preceded by the batch, if any."""
        return "x".join(map(str, (*self.left.shape, self.right.shape[-1])))

    def call(self) -> Callable[[], Tensor]:
        """A function that computes only this product, on random factors, into allocated memory."""
        left, right = self.left.random(), self.right.random()
        out = torch.matmul(left, right)
        return lambda: torch.matmul(left, right, out=out)

    def onednn_call(self) -> Callable[[], Tensor] | None:
        """A function that computes the product with oneDNN, as `nn/linear.py`; None where oneDNN cannot."""
        on_cpu = self.left.device.type == "cpu" and self.left.dtype == self.right.dtype == torch.float32
        by_onednn = ONEDNN_LINEAR
        if not on_cpu or by_onednn is None or len(self.left.shape) != 2:
            return None
        left, right = self.left.random(), self.right.random().t()
        return lambda: by_onednn(left, right, None, "none", [], "")


class ProductRecorder(TorchDispatchMode):
    """Context that counts every product in `found`, also those of a backward pass and under inference mode."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Product] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        operation = func.overloadpacket
        if operation in _OPERANDS:
            left, right = (_layout(args[place]) for place in _OPERANDS[operation])
            self.found[Product(left, right)] += 1
        elif operation is ONEDNN_LINEAR:  # its weight is stored transposed, as in nn.Linear
            weight = args[2] if func._overloadname == "binary" else args[1]
            self.found[Product(_layout(args[0].flatten(0, -2)), _transposed(weight))] += 1
        elif func._can_decompose():  # under inference mode composite operators are not decomposed yet
            with self:
                result = func.decompose(*args, **options)
            if result is not NotImplemented:
                return result
        return func(*args, **options)


def _layout(tensor: Tensor) -> Operand:
    shape = tuple(tensor.shape)
    strides = torch.empty(shape, device="meta").stride() if 0 in tensor.stride() else tensor.stride()
    return Operand(shape, tuple(strides), tensor.dtype, tensor.device)


def _transposed(weight: Tensor) -> Operand:
    """Layout of the transpose of a weight; a weight in oneDNN's layout, without strides, is taken as contiguous."""
    outputs, inputs = weight.shape
    stride = (1, inputs) if weight.is_mkldnn else (weight.stride(1), weight.stride(0))
    return Operand((inputs, outputs), stride, weight.dtype, weight.device)


def record_products(call: Callable[[], object]) -> Counter[Product]:
    """Run a call and count its products."""
    with ProductRecorder() as recorder:
        call()
    return recorder.found
