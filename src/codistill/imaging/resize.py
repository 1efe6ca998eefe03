"""Resize uint8 RGB arrays: bicubic with antialiasing, as in Pillow, with PyTorch's vectorized kernel."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from codistill.imaging.limits import bad_image, check_resized

MAX_ASPECT = 16
"""Ratio of longer to shorter side beyond which `without_ends` crops; no camera's panorama is longer."""


def resize_rgb(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (row, column, 3) uint8 to `size` = (rows, columns); returns the same array if nothing changes.

    Raises:
        DataError: if a side would vanish, the image would be enlarged beyond `MAX_RESIZED` pixels, or memory is short.
    """
    if image.shape[:2] == tuple(size):
        return image
    check_resized((image.shape[0], image.shape[1]), size)
    if not image.flags.writeable or any(stride < 0 for stride in image.strides):
        image = image.copy()  # torch accepts neither read-only arrays nor negative strides
    # The batch axis is added first: otherwise PyTorch does not notice that channels come last in memory and converts
    # to planes, which costs twice as much as the resizing.
    batch = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    with bad_image("resizing"):
        return interpolate(batch, size=size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()


def without_ends(image: np.ndarray) -> np.ndarray:
    """Crop a strip (row, column, ...) to its middle with aspect ratio `MAX_ASPECT` before resizing; keep other images.

    Resizing the shorter side of a strip of 1 x 60000 pixels would make an image of gigabytes, of which a central square
    needs hardly anything.
    """
    rows, columns = image.shape[:2]
    height, width = min(rows, MAX_ASPECT * columns), min(columns, MAX_ASPECT * rows)
    top, left = (rows - height) // 2, (columns - width) // 2
    return image[top : top + height, left : left + width]
