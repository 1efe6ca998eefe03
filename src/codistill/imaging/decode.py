"""An encoded image (bytes or a file) to uint8 RGB, upright: what cannot be decoded raises DataError with the reason.

JPEG goes through libjpeg-turbo, at a reduced size where that is enough; a JPEG that it finds unclean, and every other
format, goes through Pillow, which decides whether the image is usable.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import DataError
from codistill.imaging.jpeg import decode_jpeg, jpeg_size
from codistill.imaging.orientation import jpeg_orientation, orient, swaps_sides
from codistill.imaging.pillow import (
    PILLOW_ERRORS,
    check_pixels,
    load_pillow,
    open_pillow,
    pillow_orientation,
)

MAX_PIXELS = 178_956_970
"""Default limit of rows * columns: Pillow's own, above which it calls a file a decompression bomb."""

_JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True)
class ImageHeader:
    """What an encoded image says before it is decoded.

    Attributes:
        height, width: of the upright image, in pixels.
        orientation: EXIF orientation of the stored pixels.
        reducible: whether it can be decoded at a reduced size (a JPEG in grey or colour, not CMYK).
    """

    height: int
    width: int
    orientation: int
    reducible: bool

    @property
    def stored(self) -> tuple[int, int]:
        """(rows, columns) as stored, before the orientation is applied."""
        sides = (self.height, self.width)
        return (sides[1], sides[0]) if swaps_sides(self.orientation) else sides


def read_header(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Size and orientation of an encoded image, without decoding it.

    Args:
        data: the file's bytes.
        name: what error messages call the image.
        max_pixels: limit of rows * columns; more is taken for a decompression bomb.

    Raises:
        DataError: if the data is empty, of an unknown format, damaged in its header, or too large.
    """
    if not data:
        raise DataError(f"{name}: the file is empty (0 bytes)")
    stored = jpeg_size(data) if data.startswith(_JPEG_START) else None
    if stored is not None:
        orientation = jpeg_orientation(data)
        check_pixels(*stored, name, max_pixels)
    else:
        image = open_pillow(data, name, max_pixels)
        stored = (image.height, image.width)
        try:
            orientation = pillow_orientation(image)
        except PILLOW_ERRORS as error:
            raise DataError(f"{name}: damaged EXIF data: {error}") from error
        return _upright(stored, orientation, reducible=False)
    return _upright(stored, orientation, reducible=True)


def _upright(stored: tuple[int, int], orientation: int, reducible: bool) -> ImageHeader:
    height, width = stored[::-1] if swaps_sides(orientation) else stored
    return ImageHeader(height, width, orientation, reducible)


def decode_rgb(
    data: bytes,
    *,
    header: ImageHeader | None = None,
    reduction: int = 1,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode any image file to an upright RGB array.

    Args:
        data: the file's bytes.
        header: `read_header(data)`, if the caller has it.
        reduction: 1, 2, 4 or 8: decode a JPEG at that part of its size (sides rounded up); see
            `covering_reduction`. Other formats, and JPEGs with damage that can be passed over, come at full size.
        name: what error messages call the image.
        max_pixels: limit of rows * columns of the full image.

    Returns:
        (row, column, 3) uint8. Grey is repeated, transparency laid over white, 16 bit brought to 8, the first frame
        of an animation taken.

    Raises:
        DataError: if the data is empty, truncated, damaged, of an unknown format, or too large.
    """
    header = header or read_header(data, name=name, max_pixels=max_pixels)
    if header.reducible:
        pixels = decode_jpeg(data, header.stored, reduction)
        if pixels is not None:
            return np.ascontiguousarray(orient(pixels, header.orientation))
    return load_pillow(open_pillow(data, name, max_pixels), name)


def read_file(path: str | Path) -> bytes:
    """Bytes of a file.

    Raises:
        DataError: if it is missing, a folder, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not an image file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_rgb(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file to an upright (row, column, 3) uint8 array; errors as in `decode_rgb`."""
    return decode_rgb(read_file(path), name=str(path), max_pixels=max_pixels)


def decode_map(data: bytes, *, name: str = "map", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a one-channel image as it is stored: labels (uint8) or depth in millimetres (uint16).

    Returns:
        (row, column), uint8 or uint16; palette images give their indices.

    Raises:
        DataError: if the data is damaged, or has more than one channel or more than 16 bits.
    """
    if not data:
        raise DataError(f"{name}: the file is empty (0 bytes)")
    image = open_pillow(data, name, max_pixels)
    try:
        values = np.asarray(image)
    except PILLOW_ERRORS as error:
        raise DataError(f"{name}: cannot be decoded: {error or type(error).__name__}") from error
    if values.dtype == np.int32 and values.size and values.min() >= 0 and values.max() <= 65535:
        values = values.astype(np.uint16)
    if values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{name}: wanted one channel of 8 or 16 bits; got mode {image.mode!r}")
    return values
