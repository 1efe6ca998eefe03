"""Resizing of uint8 RGB arrays: bicubic with antialiasing, as Pillow does it, through PyTorch's vectorized kernel."""

import numpy as np
import torch
from torch.nn.functional import interpolate


def resize_rgb(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (row, column, 3) uint8 to `size` = (rows, columns); the same array where nothing changes."""
    if image.shape[:2] == tuple(size):
        return image
    if not image.flags.writeable or any(stride < 0 for stride in image.strides):
        image = image.copy()  # torch takes neither
    # The batch axis first: with it added last, PyTorch does not see that channels are innermost, and takes a detour
    # over planes that costs twice as much as the resizing.
    batch = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    return interpolate(batch, size=size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
