"""Decode images that store numbers (labels, depth, vectors) instead of brightness."""

import cv2
import numpy as np

from codistill.errors import DataError
from codistill.imaging.limits import MAX_PIXELS, bad_image
from codistill.imaging.orientation import orient
from codistill.imaging.pillow import PILLOW_ERRORS, Opened, open_pillow

_EXACT = ("PNG", "TIFF", "BMP", "GIF", "PPM", "TGA")
"""Lossless formats; JPEG is lossy, and JPEG 2000 may be."""
_BITS_PER_SAMPLE = 258


def decode_map(data: bytes, *, name: str = "map", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a one-channel image of 1 to 16 bits to the numbers stored in it.

    Returns:
        (row, column), uint8 or uint16, upright according to EXIF; palette images give their indices.

    Raises:
        DataError: if the data is damaged, of a format that changes values, or has more than one channel or more than 16
            bits.
    """
    opened = _open_exact(data, name, max_pixels)
    image = opened.image
    try:
        with bad_image(name):
            values = _stored(opened)
    except PILLOW_ERRORS as error:
        raise error if isinstance(error, DataError) else _undecodable(name, error) from error
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype == np.int32 and values.size and values.min() >= 0 and values.max() <= 65535:
        values = values.astype(np.uint16)
    if values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{name}: wanted one channel of 8 or 16 bits; got mode {image.mode!r}")
    return np.ascontiguousarray(orient(values, opened.orientation))


def decode_vectors(data: bytes, *, name: str = "vectors", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an RGB image of 8 bits per channel, or a PNG of 16, to the numbers stored in it.

    Returns:
        (row, column, 3), uint8 or uint16, red first, upright according to EXIF.

    Raises:
        DataError: if the data is damaged, of a format that changes values, or does not have three channels of 8 or 16
            bits.
    """
    opened = _open_exact(data, name, max_pixels)
    image, png = opened.image, opened.png
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8) if png is None else png.depth
    if image.mode != "RGB" or np.max(bits) > (8 if png is None else 16):
        raise DataError(
            f"{name}: wanted three channels (red, green, blue) of 8 bits, or of 16 in a PNG; got {image.format}, "
            f"mode {image.mode!r}"
        )
    try:
        with bad_image(name):
            values = np.asarray(image) if bits == 8 or png is None else _deep_colour(opened)
    except PILLOW_ERRORS as error:
        raise error if isinstance(error, DataError) else _undecodable(name, error) from error
    return np.ascontiguousarray(orient(values, opened.orientation))


def _deep_colour(opened: Opened) -> np.ndarray:
    """Decode 16 bits per channel; Pillow decodes only the high half."""
    decoded = cv2.imdecode(np.frombuffer(opened.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("damaged samples of 16 bits")
    return decoded[..., ::-1]


def _open_exact(data: bytes, name: str, max_pixels: int) -> Opened:
    if not data:
        raise DataError(f"{name}: the file is empty (0 bytes)")
    opened = open_pillow(data, name, max_pixels)
    image = opened.image
    if image.format not in _EXACT or image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        raise DataError(
            f"{name}: {image.format} does not keep the values of labels, depth or vectors; wanted a file without loss, "
            "such as PNG"
        )
    return opened


def _undecodable(name: str, error: BaseException) -> DataError:
    return DataError(f"{name}: cannot be decoded: {error or type(error).__name__}")


def _stored(opened: Opened) -> np.ndarray:
    """Numbers as in the file: Pillow stretches grey of fewer than 8 bits, and PPM of any maximum, to the full range."""
    image = opened.image
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    depth = 8 if opened.png is None else opened.png.depth
    if image.format == "TIFF":
        stated = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)
        depth = stated[0] if isinstance(stated, tuple) else stated
    if image.mode == "L" and depth in (2, 4):
        return values // (255 // ((1 << depth) - 1))
    if image.format == "PPM":
        return _unstretched(values, opened.data)
    return values


def _unstretched(values: np.ndarray, data: bytes) -> np.ndarray:
    """Restore a PGM's numbers: its header's third number is the maximum, which Pillow has stretched to 255 or 65535."""
    words = [word for line in data[:1000].split(b"\n") for word in line.partition(b"#")[0].split()]
    if data[:2] not in (b"P2", b"P5") or len(words) < 4:
        return values
    most, full = int(words[3]), 255 if values.dtype == np.uint8 else 65535
    kind = np.uint8 if most <= 255 else np.uint16
    return ((values.astype(np.int64) * most + full // 2) // full).astype(kind)
