"""Limits on a single image: number of pixels, and sides after resizing.

A file of a few hundred bytes can require gigabytes, so sizes are checked before anything is allocated. An image that
still does not fit into memory counts as unusable and does not end a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from codistill.errors import DataError

MAX_PIXELS = 178_956_970
"""Default limit of rows * columns: Pillow's own, above which it calls a file a decompression bomb."""

MAX_RESIZED = 1 << 26
"""Limit of rows * columns of an enlarged image: 0.8 GB as float. Strips of 1 x 60000 pixels would exceed it."""


def check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    """Raise DataError if an image is empty or larger than allowed (a decompression bomb)."""
    if height * width > max_pixels:
        raise DataError(
            f"{name}: {width}x{height} pixels are more than the {max_pixels} allowed. If the file is meant to be "
            "that large, raise max_pixels."
        )
    if height < 1 or width < 1:
        raise DataError(f"{name}: the image is empty ({width}x{height} pixels)")


def check_resized(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Raise DataError if resizing (rows, columns) would leave nothing, or enlarge beyond `MAX_RESIZED`."""
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
    """Turn memory, OpenCV and PyTorch errors about one image into a DataError that names it."""
    try:
        yield
    except (MemoryError, cv2.error) as error:
        raise DataError(f"{name}: cannot be used: {_first_line(error)}") from error
    except RuntimeError as error:
        if "alloc" not in str(error):  # how PyTorch reports a lack of memory
            raise
        raise DataError(f"{name}: cannot be used: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or ("memory does not suffice" if isinstance(error, MemoryError) else type(error).__name__)
