"""Everything that is not a plain JPEG: Pillow opens it, and each pixel format becomes 8-bit RGB in a stated way.

16-bit grey keeps its high byte (Pillow's own conversion clips at 255); transparency is laid over white; CMYK, palette
and the rest follow Pillow; of an animation the first frame is taken; floating point has no known range and is
refused.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from codistill.errors import DataError
from codistill.imaging.orientation import orient

_ORIENTATION = 0x0112

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


def open_pillow(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Open, without decoding, an encoded image.

    Raises:
        DataError: if no reader knows the format, or the image has more than `max_pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        raise DataError(
            f"{name}: not an image in a known format (it starts with {data[:8]!r}). "
            "Wanted: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM or another format that Pillow reads."
        ) from None
    except PILLOW_ERRORS as error:
        raise DataError(f"{name}: cannot be opened: {error}") from error
    check_pixels(image.height, image.width, name, max_pixels)
    return image


def check_pixels(height: int, width: int, name: str, max_pixels: int) -> None:
    """Raise DataError where an image is empty or larger than allowed (a decompression bomb)."""
    if height * width > max_pixels:
        raise DataError(
            f"{name}: {width}x{height} pixels are more than the {max_pixels} allowed. If the file is meant to be "
            "that large, raise max_pixels."
        )
    if height < 1 or width < 1:
        raise DataError(f"{name}: the image is empty ({width}x{height} pixels)")


def load_pillow(image: Image.Image, name: str) -> np.ndarray:
    """Decode an opened image to upright (row, column, 3) uint8.

    Raises:
        DataError: if the data is truncated or damaged, or the pixels are floating point.
    """
    try:
        orientation = pillow_orientation(image)
        image.load()
        rgb = np.ascontiguousarray(orient(_rgb(image), orientation))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except PILLOW_ERRORS as error:
        raise DataError(f"{name}: cannot be decoded: {error or type(error).__name__}") from error
    return rgb


def pillow_orientation(image: Image.Image) -> int:
    """EXIF orientation (1 to 8), without decoding the image.

    TIFF is turned by Pillow itself while it decodes. A PNG may carry EXIF behind its pixels, where Pillow looks for
    it by decoding them: only what stands in front is used.
    """
    if image.format == "TIFF":
        return 1
    if image.format == "PNG":
        tags = Image.Exif()
        tags.load(image.info.get("exif", b""))
    else:
        tags = image.getexif()
    value = tags.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def pillow_to_rgb(image: Image.Image) -> np.ndarray:
    """Upright (row, column, 3) uint8 of a PIL image in any mode but `F`.

    Raises:
        DataError: for floating-point pixels.
    """
    orientation = pillow_orientation(image)
    return np.ascontiguousarray(orient(_rgb(image), orientation))


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range; convert the file to 8 or 16 bit integers")
    if image.mode.startswith("I"):
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """Integer grey of more than 8 bits to 8: by 257 (65535 becomes 255); values that already fit stay."""
    grey = grey.astype(np.int64)
    if grey.min() >= 0 and grey.max() <= 255:
        return grey.astype(np.uint8)
    return np.clip((grey + 128) // 257, 0, 255).astype(np.uint8)
