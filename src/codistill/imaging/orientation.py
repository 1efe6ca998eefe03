"""Apply EXIF orientation to an array: it states the true sides of the stored row 0 and column 0; 1 is upright."""

import numpy as np


def swaps_sides(orientation: int) -> bool:
    """Whether the width of the upright image is the height of the stored one."""
    return orientation >= 5


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate or mirror stored pixels (row, column, ...) to be upright; a view, not a copy."""
    if swaps_sides(orientation):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
