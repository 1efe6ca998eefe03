"""Computing in the numbers that tensors have, whatever autocast is around: for what would suffer from bf16."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """No autocast on the tensor's device: products keep the operands' precision. The meta device has no autocast."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)
