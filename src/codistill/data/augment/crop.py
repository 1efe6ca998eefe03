"""From an encoded image to the drawn crop at the output size, decoding no more than needed."""

import cv2
import numpy as np

from codistill.data.augment.draw import AugmentParams, Size, rows_and_columns
from codistill.imaging import ImageHeader, covering_reduction, decode_rgb, resize_rgb


def decode_crop(
    data: bytes,
    header: ImageHeader,
    params: AugmentParams,
    size: Size,
    *,
    turned: bool = False,
    reduce: bool = True,
    name: str = "image",
) -> np.ndarray:
    """Decode, crop, resize (bicubic, antialiased) and flip.

    Args:
        data, header: the encoded image, and `read_header` of it.
        params: the crop, in pixels of the full image (after turning).
        size: of the output.
        turned: turn the image clockwise by 90 degrees first.
        reduce: allow decoding at a fraction of the size.
        name: the image's name in error messages.

    Returns:
        (row, column, 3) uint8.
    """
    wanted = rows_and_columns(size)
    reduction = covering_reduction((params.height, params.width), wanted) if reduce else 1
    image = decode_rgb(data, header=header, reduction=reduction, name=name)
    if turned:
        image = np.rot90(image, k=-1)
    top, bottom, left, right = _scaled_box(image, header, params, turned)
    crop = image[top:bottom, left:right]
    resized = resize_rgb(crop, wanted)
    return cv2.flip(resized, 1) if params.flip else np.ascontiguousarray(resized)


def _scaled_box(
    image: np.ndarray, header: ImageHeader, params: AugmentParams, turned: bool
) -> tuple[int, int, int, int]:
    """The crop in pixels of the image as decoded: top, bottom, left, right; never empty."""
    full = (header.width, header.height) if turned else (header.height, header.width)
    if image.shape[:2] == full:
        return params.top, params.top + params.height, params.left, params.left + params.width
    rows, columns = image.shape[0] / full[0], image.shape[1] / full[1]
    top, left = round(params.top * rows), round(params.left * columns)
    bottom = min(image.shape[0], max(top + 1, round((params.top + params.height) * rows)))
    right = min(image.shape[1], max(left + 1, round((params.left + params.width) * columns)))
    return min(top, bottom - 1), bottom, min(left, right - 1), right
