"""What one image may cost: pixels, sides after resizing, and what becomes of an image that costs more.

A file of a few hundred bytes can ask for gigabytes. Sizes are compared before anything of that size is made; what
still does not fit into memory makes the image a bad one, which is counted, and not the end of a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from codistill.errors import DataError

MAX_PIXELS = 178_956_970
"""Default limit of rows * columns: Pillow's own, above which it calls a file a decompression bomb."""

MAX_RESIZED = 1 << 26
"""Limit of rows * columns that an image is enlarged to: 0.8 GB as float. Strips of 1 x 60000 pixels ask for more."""


def check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    """Raise DataError where an image is empty or larger than allowed (a decompression bomb)."""
    if height * width > max_pixels:
        raise DataError(
            f"{name}: {width}x{height} pixels are more than the {max_pixels} allowed. If the file is meant to be "
            "that large, raise max_pixels."
        )
    if height < 1 or width < 1:
        raise DataError(f"{name}: the image is empty ({width}x{height} pixels)")


def check_resized(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Raise DataError where resizing (rows, columns) would leave nothing, or more than memory should be asked for."""
    if min(after) < 1:
        raise DataError(
            f"an image of {before[1]}x{before[0]} pixels would become {after[1]}x{after[0]}: nothing is left of its "
            "shorter side. Crop it first."
        )
    if after[0] * after[1] > max(MAX_RESIZED, before[0] * before[1]):
        raise DataError(
            f"an image of {before[1]}x{before[0]} pixels would be enlarged to {after[1]}x{after[0]}, more than the "
            f"{MAX_RESIZED} pixels allowed. Crop it first, or give a smaller size or both sides."
        )


@contextmanager
def bad_image(name: str) -> Iterator[None]:
    """Turn what memory, OpenCV and PyTorch raise over one image into a DataError that names it."""
    try:
        yield
    except (MemoryError, cv2.error) as error:
        raise DataError(f"{name}: cannot be used: {_first_line(error)}") from error
    except RuntimeError as error:
        if "alloc" not in str(error):  # PyTorch's way to say that memory is short
            raise
        raise DataError(f"{name}: cannot be used: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or ("memory does not suffice" if isinstance(error, MemoryError) else type(error).__name__)
