"""Features as they are stored: half precision, and nothing that does not fit into it.

Features on any device in, fp16 on the host out.
"""

import numpy as np
import torch
from torch import Tensor

from codistill.errors import DataError


def narrowed(values: Tensor, name: str, advice: str) -> np.ndarray:
    """Features as fp16, on the host.

    Args:
        values: of some images.
        name: of the first of them.
        advice: what to do where they do not fit.

    Raises:
        DataError: if they are too large for it, or no numbers.
    """
    half = values.to(torch.float16).cpu()
    if not half.isfinite().all():
        raise DataError(f"features of {name} and others are too large for fp16. {advice}")
    return half.numpy()
