"""Decode everything that is not a plain JPEG with Pillow, and convert each pixel format to 8-bit RGB in a defined way.

Only the formats in `FORMATS` are tried: some of Pillow's readers start other programs (a file that begins with `%!PS`
starts Ghostscript, whatever its name). Samples of 16 bits are scaled to 8 (`deep.py`). Transparency is laid over white.
CMYK, palettes and the rest are converted by Pillow. Of an animation the first frame is used. Floating point has no
known range and is refused.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, features

from codistill.errors import DataError
from codistill.imaging.deep import eight_bits
from codistill.imaging.exif import ORIENTATION, exif_orientation
from codistill.imaging.jpeg import JPEG_START, jpeg_exif
from codistill.imaging.limits import bad_image, check_pixels
from codistill.imaging.orientation import orient
from codistill.imaging.png import PNG_START, Png, reduce_png

_WANTED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "TGA")
FORMATS = (*_WANTED, "AVIF") if "avif" in features.modules else _WANTED
"""The accepted formats."""

# What Pillow's format readers raise on damaged bytes.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_BITS_PER_SAMPLE, _TILE_SIDES = 258, (322, 323)
_COMPOSED_ROWS = 1024
_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Opened:
    """An image that is opened but not decoded.

    Attributes:
        image: stored pixels; for a TIFF, Pillow applies the orientation when decoding.
        orientation: EXIF orientation still to be applied.
        data: the file; for a PNG, only the chunks that its pixels need. png: the other facts of a PNG.
    """

    image: Image.Image
    orientation: int
    data: bytes
    png: Png | None = None


def open_pillow(data: bytes, name: str, max_pixels: int) -> Opened:
    """Open an encoded image without decoding it.

    Raises:
        DataError: if no reader knows the format, or the image has more than `max_pixels` pixels.
    """
    check_pixels(*_webp_size(data), name, max_pixels)
    png = reduce_png(data, name) if data.startswith(PNG_START) else None
    data = data if png is None else png.data
    try:
        with warnings.catch_warnings(), _pillow_allows(max_pixels):
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            orientation = _orientation(image, data, png)
    except Image.UnidentifiedImageError:
        raise DataError(
            f"{name}: not an image in a known format (it starts with {data[:8]!r}). "
            f"Wanted: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None
    except PILLOW_ERRORS as error:
        raise DataError(f"{name}: cannot be opened: {error}") from error
    check_pixels(image.height, image.width, name, max_pixels)
    check_pixels(*_tile_size(image), name, max_pixels)
    return Opened(image, orientation, data, png)


@contextmanager
def _pillow_allows(pixels: int) -> Iterator[None]:
    """Raise Pillow's own limit, which is global to the process, to the caller's while a file is read."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or pixels <= limit:
        yield
        return
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _webp_size(data: bytes) -> tuple[int, int]:
    """Size (rows, columns) of a WebP's canvas, which Pillow allocates when opening the file; (1, 1) otherwise."""
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8X":
        return 1, 1
    columns, rows = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
    return rows, columns


def _tile_size(image: Image.Image) -> tuple[int, int]:
    """Size (rows, columns) of a TIFF's tiles, which are decoded as a whole even for small images; else (1, 1)."""
    tags = getattr(image, "tag_v2", {})
    columns, rows = (tags.get(tag, 1) for tag in _TILE_SIDES)
    return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else (1, 1)


def _orientation(image: Image.Image, data: bytes, png: Png | None) -> int:
    """EXIF orientation (1 to 8) still to be applied, without decoding the image."""
    if png is not None:
        return exif_orientation(png.exif)
    if data.startswith(JPEG_START):
        return exif_orientation(jpeg_exif(data))
    if image.format == "TIFF":  # Pillow applies the orientation itself
        tags = getattr(image, "tag_v2", {})
        return 1 if tags.get(ORIENTATION) in range(2, 9) else exif_orientation(data)
    return exif_orientation(image.info.get("exif", b""))


def load_pillow(opened: Opened, name: str) -> np.ndarray:
    """Decode an opened image to upright (row, column, 3) uint8.

    Raises:
        DataError: if the data is truncated or damaged, or the range of its pixels is unknown.
    """
    try:
        with bad_image(name), _pillow_allows(opened.image.height * opened.image.width):
            return np.ascontiguousarray(orient(_file_rgb(opened), opened.orientation))
    except DataError as error:
        raise error if str(error).startswith(name) else DataError(f"{name}: {error}") from None
    except PILLOW_ERRORS as error:
        raise DataError(f"{name}: cannot be decoded: {error or type(error).__name__}") from error


def pillow_to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a PIL image in any mode but `F` to upright (row, column, 3) uint8.

    Raises:
        DataError: for pixels of unknown range.
    """
    orientation = _memory_orientation(image)
    return np.ascontiguousarray(orient(_rgb(image), orientation))


def _memory_orientation(image: Image.Image) -> int:
    """As `_orientation`, for an image that a caller has opened and may have changed."""
    try:
        if image.format == "TIFF":
            image.load()
        if image.format == "PNG" and not getattr(image, "is_animated", False):
            # `getexif` would decode the image to find chunks after its pixels.
            return exif_orientation(image.info.get("exif", b""))
        value = image.getexif().get(ORIENTATION, 1)
    except PILLOW_ERRORS:
        return 1
    value = value[0] if isinstance(value, bytes) and len(value) == 1 else value
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _file_rgb(opened: Opened) -> np.ndarray:
    image, png = opened.image, opened.png
    image.load()
    if png is not None and png.depth == 16:
        return _deep_png(opened, png)
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    if image.format == "TIFF" and max(bits) > 8:
        return _deep_tiff(opened, bits)
    if image.mode.startswith("I"):  # JPEG 2000 and PPM, which Pillow has scaled to 16 bits
        return _grey(eight_bits(np.asarray(image), full=True))
    return _rgb(image)


def _deep_png(opened: Opened, png: Png) -> np.ndarray:
    """Decode 16 bits per channel; for colour images Pillow decodes only the high half."""
    samples = np.asarray(opened.image)
    if png.colour != 0:
        decoded = cv2.imdecode(np.frombuffer(opened.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint16:
            raise DataError("its 16-bit samples cannot be decoded")
        samples = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB if decoded.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    significant = png.significant
    if png.colour == 4:  # OpenCV repeats grey
        significant = significant[:1] * 3 + significant[1:]
    colour = samples if png.colour == 0 else samples[..., :3]
    pixels = eight_bits(colour, significant if png.colour == 0 else significant[:3])
    pixels = _grey(pixels) if png.colour == 0 else pixels
    key = opened.image.info.get("transparency")
    if png.colour == 0 and isinstance(key, int):
        return _over_white(np.dstack([pixels, np.where(samples == key, 0, 255).astype(np.uint8)]))
    if png.colour != 0 and samples.shape[2] == 4:
        return _over_white(np.dstack([pixels, eight_bits(samples[..., 3], significant[3:], full=True)]))
    return pixels


def _deep_tiff(opened: Opened, bits: tuple[int, ...]) -> np.ndarray:
    """Decode more than 8 bits per channel: grey as Pillow reads it, colour by its high half."""
    image = opened.image
    if image.mode == "F":
        return _rgb(image)
    if image.mode.startswith("I"):
        if max(bits) > 16:
            raise DataError("32-bit integers have no known range; convert the file to 8 or 16 bits")
        fewer = max(bits) < 16
        return _grey(eight_bits(np.asarray(image), bits[:1] if fewer else (), unscaled=fewer))
    if image.mode in ("RGB", "RGBA", "RGBX") and np.asarray(image)[..., :3].max(initial=0) < 16:
        samples = cv2.imdecode(np.frombuffer(opened.data, np.uint8), cv2.IMREAD_UNCHANGED)
        # Too dark: raises unless black.
        eight_bits(np.asarray([[15]]) if samples is None else samples[..., :3])
    return _rgb(image)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range; convert the file to 8 or 16 bit integers")
    if image.mode.startswith("I"):
        return _grey(eight_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _over_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2)


def _over_white(layers: np.ndarray) -> np.ndarray:
    """Lay (row, column, RGBA) uint8 over white, in chunks of rows to save the memory of three more images."""
    if layers[..., 3].min(initial=255) == 255:
        return np.ascontiguousarray(layers[..., :3])
    out = np.empty((*layers.shape[:2], 3), dtype=np.uint8)
    for start in range(0, len(layers), _COMPOSED_ROWS):
        band = Image.fromarray(layers[start : start + _COMPOSED_ROWS])
        white = Image.new("RGBA", band.size, "white")
        out[start : start + _COMPOSED_ROWS] = np.asarray(Image.alpha_composite(white, band).convert("RGB"))
    return out
