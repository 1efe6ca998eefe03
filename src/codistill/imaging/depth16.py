"""Depth in 16 bits, in one convention for all files and caches.

Numbers are millimetres, unless a unit is given; 0 is unknown; 65535 is infinite: the sky. Other depths beyond 65534
units are stored as unknown. Without sky (`sky=False`: the depth task's folders and caches) 65535 is a depth, 65.535 m,
to which larger ones are clipped.
"""

import numpy as np

from codistill.errors import DataError

MILLIMETRE = 0.001
LAST = 65535
"""The largest number, which means infinite if there is a sky."""


def to_metres(values: np.ndarray, unit: float = MILLIMETRE, *, sky: bool = True) -> np.ndarray:
    """Convert the numbers of a map to fp32 metres: 0 unknown, infinite for sky.

    Args:
        values: uint16, of any shape.
        unit: metres per unit.
        sky: 65535 is infinite.

    Raises:
        DataError: for numbers of another type, such as those of an 8-bit preview.
    """
    if values.dtype != np.uint16:
        raise DataError("is no 16-bit depth map (millimetres); 8-bit previews cannot be used")
    metres = (values.astype(np.float64) * unit).astype(np.float32)
    return np.where(values == LAST, np.float32(np.inf), metres) if sky else metres


def from_metres(depth: np.ndarray, unit: float = MILLIMETRE, *, sky: bool = True) -> np.ndarray:
    """The inverse of `to_metres`: depth that is not positive, or NaN, is unknown; known depth becomes at least 1.

    Args:
        depth: metres, infinite for sky.
        unit: metres per unit.
        sky: infinity becomes 65535, and larger depths are unknown; otherwise both become the largest number.
    """
    numbers = np.round(np.nan_to_num(depth, nan=0.0, posinf=np.inf) * (1 / unit))
    numbers = np.where(depth > 0, np.maximum(numbers, 1), 0)
    if sky:
        numbers = np.where(np.isposinf(depth), LAST, np.where(numbers < LAST, numbers, 0))
    return np.clip(numbers, 0, LAST).astype(np.uint16)
