"""Compute in the precision of the tensors under any autocast, for results that would suffer from bf16."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Disable autocast on the tensor's device, so that products keep the operands' precision.

    The meta device has no autocast.
    """
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)
