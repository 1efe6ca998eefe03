"""Decode an image (bytes or a file) to upright uint8 RGB; what cannot be decoded raises DataError with the reason.

libjpeg-turbo decodes JPEGs, at a reduced size if that is sufficient. Pillow decodes JPEGs with warnings and every other
format, and decides whether the image is usable.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import DataError
from codistill.files.reading import MAX_FILE_BYTES, read_regular
from codistill.imaging.exif import exif_focal, exif_orientation
from codistill.imaging.jpeg import (
    JPEG_START,
    MAX_SCANS,
    decode_jpeg,
    jpeg_exif,
    jpeg_size,
    too_many_scans,
)
from codistill.imaging.limits import MAX_PIXELS, bad_image, check_pixels
from codistill.imaging.orientation import orient, swaps_sides
from codistill.imaging.pillow import load_pillow, open_pillow


@dataclass(frozen=True)
class ImageHeader:
    """An encoded image's header.

    Attributes:
        height, width: size of the upright image, in pixels.
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
    """Read size and orientation of an encoded image, without decoding it.

    Args:
        data: the file's bytes.
        name: name of the image in errors.
        max_pixels: limit of rows * columns; larger images count as decompression bombs.

    Raises:
        DataError: if the data is empty, of an unknown format, damaged in its header, or too large.
    """
    if not data:
        raise DataError(f"{name}: the file is empty (0 bytes)")
    is_jpeg = data.startswith(JPEG_START)
    if is_jpeg and too_many_scans(data):
        raise DataError(f"{name}: a JPEG of more than {MAX_SCANS} scans, which would take minutes to decode")
    stored = jpeg_size(data) if is_jpeg else None
    if stored is not None:
        check_pixels(*stored, name, max_pixels)
        return _upright(stored, exif_orientation(jpeg_exif(data)), reducible=True)
    opened = open_pillow(data, name, max_pixels)
    return _upright((opened.image.height, opened.image.width), opened.orientation, reducible=False)


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
        header: `read_header(data)`, if the caller has it; the size is then not checked again.
        reduction: 1, 2, 4 or 8: decode a JPEG at that fraction of its size (sides rounded up); see
            `covering_reduction`. Other formats, and slightly damaged JPEGs, are decoded at full size.
        name: name of the image in errors.
        max_pixels: limit of rows * columns of the full image.

    Returns:
        (row, column, 3) uint8. Grey is repeated, transparency laid over white, 16 bit scaled to 8; of an animation the
        first frame.

    Raises:
        DataError: if the data is empty, truncated, damaged, of an unknown format, or too large.
    """
    if header is None:
        header = read_header(data, name=name, max_pixels=max_pixels)
    max_pixels = max(max_pixels, header.height * header.width)
    if header.reducible:
        with bad_image(name):
            pixels = decode_jpeg(data, header.stored, reduction)
            if pixels is not None:
                return np.ascontiguousarray(orient(pixels, header.orientation))
    return load_pillow(open_pillow(data, name, max_pixels), name)


def read_file(path: str | Path) -> bytes:
    """Read a regular file of at most 1 GiB.

    Raises:
        DataError: if it is missing, a folder, a pipe or a device, too large, or cannot be read.
    """
    return read_regular(path, what="image file", limit=MAX_FILE_BYTES)


def read_rgb(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file to an upright (row, column, 3) uint8 array; errors as in `decode_rgb`."""
    return decode_rgb(read_file(path), name=str(path), max_pixels=max_pixels)


def equivalent_focal(path: str | Path) -> float | None:
    """Focal length on 35 mm film, in millimetres, from an image file's EXIF data; None if missing.

    Raises:
        DataError: if the file cannot be read or opened.
    """
    data = read_file(path)
    if data.startswith(JPEG_START):
        return exif_focal(jpeg_exif(data))
    opened = open_pillow(data, str(path), MAX_PIXELS)
    if opened.png is not None:
        return exif_focal(opened.png.exif)
    return exif_focal(data if opened.image.format == "TIFF" else opened.image.info.get("exif", b""))
