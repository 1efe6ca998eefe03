"""Recognize tensors that are sharded among ranks (FSDP2), without importing PyTorch's distributed tensors.

That import takes seconds. If it has not happened in the process, no tensor is sharded.
"""

import sys
from typing import Any

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a `DTensor`."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor; any other tensor as it is."""
    if not is_sharded(tensor):
        return tensor
    sharded: Any = tensor
    return sharded.to_local()
