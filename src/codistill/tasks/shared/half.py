"""Store features in half precision (fp16, on the host), with a check that the values fit."""

import numpy as np
import torch
from torch import Tensor

from codistill.errors import DataError


def narrowed(values: Tensor, name: str, advice: str) -> np.ndarray:
    """Convert features to fp16, on the host.

    Args:
        values: features of some images.
        name: name of the first image, for the error.
        advice: what to do if the values do not fit, for the error.

    Raises:
        DataError: if values overflow or are not finite.
    """
    half = values.to(torch.float16).cpu()
    if not half.isfinite().all():
        raise DataError(f"features of {name} and others are too large for fp16. {advice}")
    return half.numpy()
