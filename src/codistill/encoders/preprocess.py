"""Convert images of any kind to one ImageNet-normalized batch whose sides are multiples of the patch size.

In: one or several images. Out: float (batch, 3, row, column). Resizing is bicubic with antialiasing, as in DINOv2's
evaluation transforms, on 8-bit values (on floats if the image has floats). Arrays hold uint8 or floats in [0, 1]; grey
ones (row, column) become RGB; channels (1, 3 or 4) may be the first or the last axis; ambiguous arrays are refused.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.errors import ConfigError, DataError
from codistill.imaging import decode_rgb, pillow_to_rgb, read_rgb, resize_rgb
from codistill.imaging.normalize import imagenet_normalize_

ImageLike = str | Path | bytes | bytearray | memoryview | Image.Image | np.ndarray | Tensor
"""A path, the bytes of an image file, a PIL image, or an array or tensor of pixels."""

CHANNELS = (1, 3, 4)
ROUNDING = 1e-5
"""Floats that exceed [0, 1] by at most this are clamped to 0 or 1."""

_BYTES = (bytes, bytearray, memoryview)


def preprocess_images(
    images: ImageLike | Sequence[ImageLike], patch_size: int, size: int | tuple[int, int] | None = None
) -> Float[Tensor, "batch 3 row column"]:
    """Bring images to one ImageNet-normalized batch.

    Args:
        images: one or several of: a path, the bytes of an image file, a PIL image, or an array or tensor of uint8 or of
            floats in [0, 1], (row, column), (row, column, channel) or (channel, row, column); an array or tensor with
            four axes counts as several images.
        patch_size: sides of the result are multiples of it.
        size: (rows, columns), or the shorter side in pixels; rounded to the nearest multiples. None keeps each
            image's own size, rounded.

    Raises:
        DataError: if a file does not decode, an array holds other values or has an ambiguous channel axis, or the
            results differ in shape.
        ValueError: for a size or a patch size below 1, or a size that is not a whole number.
    """
    listed = list_images(images)
    if not listed:
        raise DataError("no images were given; give at least one")
    arrays = [_to_rgb(image) for image in listed]
    arrays = [_resize(image, target_size(image.shape[:2], patch_size, size)) for image in arrays]
    shapes = sorted({image.shape[:2] for image in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"the images have different shapes after resizing (rows, columns): {', '.join(map(str, shapes))}. "
            "Give size=(rows, columns), or pass them one by one."
        )
    stacked = torch.stack([_unit(image) for image in arrays])
    return imagenet_normalize_(stacked).contiguous()


def target_size(
    shape: tuple[int, ...], patch_size: int, size: int | tuple[int, int] | None = None
) -> tuple[int, int]:
    """(rows, columns) of an image of `shape` after resizing, see `preprocess_images`."""
    wanted = () if size is None else size if isinstance(size, tuple | list) else (size, size)
    whole = all(isinstance(side, int | np.integer) and side >= 1 for side in wanted)
    if patch_size < 1 or not whole or len(wanted) not in (0, 2):
        raise ValueError(
            f"size must be None, a number of pixels or (rows, columns), and patch_size positive; "
            f"got size {size} and patch_size {patch_size}"
        )
    rows, columns = float(shape[0]), float(shape[1])
    if isinstance(size, tuple | list):
        rows, columns = size
    elif size is not None:
        factor = size / min(rows, columns)
        rows, columns = rows * factor, columns * factor
    return _multiple(rows, patch_size), _multiple(columns, patch_size)


def _multiple(side: float, patch_size: int) -> int:
    return max(1, int(side / patch_size + 0.5)) * patch_size


def check_size(size: int, patch_size: int) -> None:
    """Refuse a size at which images have less than two patches: features then have no principal components.

    Raises:
        ConfigError: if it is too small; the text has the smallest one.
    """
    if size < 2 * patch_size:
        raise ConfigError(
            f"a size of {size} pixels is too small for patches of {patch_size}: give {2 * patch_size} or more"
        )


def list_images(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    """One or several images as a list; an array or tensor with four axes counts as several."""
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, Image.Image, *_BYTES)) or hasattr(images, "read"):
        return [images]  # type: ignore[list-item]
    return list(images) if isinstance(images, Iterable) else [images]


def _to_rgb(image: ImageLike) -> np.ndarray:
    """One image as (row, column, 3): uint8, or float32 in [0, 1]."""
    if isinstance(image, (str, Path)):
        return read_rgb(image)
    if isinstance(image, _BYTES):
        return decode_rgb(bytes(image), name=f"image of {len(image):,} bytes")
    if isinstance(image, Image.Image):
        return pillow_to_rgb(image)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        raise DataError(
            "an image must be a path, the bytes of an image file (of an open one: its read()), a PIL image, or an "
            f"array or tensor; got {type(image).__name__}"
        )
    return _array_to_rgb(image)


def pixels_of(image: ImageLike) -> UInt8[np.ndarray, "row column 3"]:
    """One image of any kind as uint8, upright, at its own size.

    Raises:
        DataError: see `preprocess_images`.
    """
    found = _to_rgb(image)
    return found if found.dtype == np.uint8 else (found * 255.0 + 0.5).astype(np.uint8)


def _array_to_rgb(image: np.ndarray) -> np.ndarray:
    """Convert an array of uint8 or of floats in [0, 1], with channels first, last or absent, to (row, column, 3)."""
    what = f"{image.dtype} of shape {image.shape}"
    if image.size == 0 or (image.dtype.kind != "f" and image.dtype != np.uint8):
        raise DataError(
            f"an image array must hold uint8 values or floats in [0, 1]; got {what}. Other integers have no known "
            "range: bring them to uint8, or divide by their largest possible value."
        )
    if image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())
        if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):
            raise DataError(
                f"a floating-point image must lie in [0, 1]; got {what}, from {low:.4g} to {high:.4g}. Divide values "
                "of 0 to 255 by 255; images that are normalized already, (batch, 3, row, column), go to the encoder."
            )
        image = image.astype(np.float32).clip(0.0, 1.0)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3:
        raise DataError(f"an image array must be (row, column), (row, column, channel) or CHW; got {what}")
    last, first = (image.shape[axis] in CHANNELS for axis in (2, 0))
    if last == first:
        problem = (
            "channels may be its first or its last axis"
            if first
            else "no outer axis holds 1, 3 or 4 channels"
        )
        raise DataError(
            f"an image array of shape {image.shape}: {problem}. Give (row, column, 3) with more rows than channels, or "
            "a PIL image; several grey images as a list of (row, column)."
        )
    image = image.transpose(1, 2, 0) if first else image
    if image.shape[2] == 4:  # transparent pixels are blended with white, as for files
        full = 1.0 if image.dtype == np.float32 else 255.0
        alpha = image[..., 3:].astype(np.float32) / full
        laid = image[..., :3] * alpha + full * (1 - alpha)
        image = laid if image.dtype == np.float32 else laid.round().astype(np.uint8)
    return np.ascontiguousarray(image if image.shape[2] == 3 else image.repeat(3, axis=2))


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bicubically with antialiasing; floats are clamped to [0, 1], which bicubic weights may overshoot."""
    if image.dtype == np.uint8 or image.shape[:2] == size:
        return resize_rgb(image, size)
    batch = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    resized = interpolate(batch, size=size, mode="bicubic", antialias=True).clamp_(0.0, 1.0)
    return resized[0].permute(1, 2, 0).numpy()


def _unit(image: np.ndarray) -> Tensor:
    """(3, row, column) in [0, 1]."""
    values = torch.from_numpy(image).permute(2, 0, 1)
    return values if image.dtype == np.float32 else values.float().div_(255)
