"""Decode a client's bytes to pixels within the limits: size before decoding, then `max_edge` on the longer side.

The format is recognized by the first bytes. File names and types that a client sends are ignored, and never used as
paths.
"""

import numpy as np
from jaxtyping import UInt8

from codistill.errors import DataError
from codistill.imaging import covering_reduction, decode_rgb, read_header, resize_rgb

Pixels = UInt8[np.ndarray, "row column 3"]


def read_picture(data: bytes, name: str, *, max_pixels: int, max_edge: int | None) -> Pixels:
    """Upright pixels of an encoded image, reduced where its longer side is above `max_edge`.

    Raises:
        DataError: if the bytes are not an image, are damaged, or have more pixels than allowed.
    """
    header = read_header(data, name=name, max_pixels=max_pixels)
    sides = (header.height, header.width)
    if max_edge is None or max(sides) <= max_edge:
        return decode_rgb(data, header=header, name=name, max_pixels=max_pixels)
    wanted = tuple(max(1, round(side * max_edge / max(sides))) for side in sides)
    if min(sides) * max_edge < max(sides):
        raise DataError(f"{name}: {sides[1]}x{sides[0]} pixels are a strip, not a picture")
    reduction = covering_reduction(sides, (wanted[0], wanted[1]))
    pixels = decode_rgb(data, header=header, reduction=reduction, name=name, max_pixels=max_pixels)
    return resize_rgb(pixels, (wanted[0], wanted[1]))
