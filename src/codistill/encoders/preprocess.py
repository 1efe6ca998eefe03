"""Paths, PIL images and uint8 arrays to one ImageNet-normalized batch whose sides are multiples of the patch size.

What enters may be one image or several; what leaves is float (batch, 3, row, column). Resizing is bicubic with
antialiasing, on 8 bits, as in the evaluation transforms of DINOv2.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from codistill.errors import DataError
from codistill.imaging import pillow_to_rgb, read_rgb, resize_rgb
from codistill.types import IMAGENET_MEAN, IMAGENET_STD

ImageLike = str | Path | Image.Image | np.ndarray | Tensor
"""A path, a PIL image, or uint8 (row, column, 3)."""


def preprocess_images(
    images: ImageLike | Sequence[ImageLike], patch_size: int, size: int | tuple[int, int] | None = None
) -> Float[Tensor, "batch 3 row column"]:
    """Bring images to one ImageNet-normalized batch.

    Args:
        images: one or several of: a path, a PIL image, a uint8 array or tensor (row, column, 3); a uint8 array or
            tensor (image, row, column, 3) counts as several.
        patch_size: sides come out as multiples of it.
        size: (rows, columns), or the shorter side in pixels; rounded to the nearest multiples. None keeps each
            image's own size, rounded.

    Raises:
        DataError: if a file does not decode, an array is not uint8 (row, column, 3), or the images come out in
            different shapes.
        ValueError: for a size or a patch size below 1.
    """
    listed = _as_list(images)
    if not listed:
        raise DataError("no images were given; give at least one")
    arrays = [_to_rgb(image) for image in listed]
    arrays = [resize_rgb(image, target_size(image.shape[:2], patch_size, size)) for image in arrays]
    shapes = sorted({image.shape[:2] for image in arrays})
    if len(shapes) > 1:
        raise DataError(
            f"the images come out in different shapes (rows, columns): {', '.join(map(str, shapes))}. "
            "Give size=(rows, columns), or pass them one by one."
        )
    stacked = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return stacked.sub_(mean).div_(std).contiguous()


def target_size(
    shape: tuple[int, ...], patch_size: int, size: int | tuple[int, int] | None = None
) -> tuple[int, int]:
    """(rows, columns) that an image of `shape` is resized to: see `preprocess_images`."""
    wanted = (size,) if isinstance(size, int) else size or ()
    if patch_size < 1 or any(side < 1 for side in wanted) or len(wanted) > 2:
        raise ValueError(
            f"size must be None, a number of pixels or (rows, columns), and patch_size positive; "
            f"got size {size} and patch_size {patch_size}"
        )
    rows, columns = float(shape[0]), float(shape[1])
    if isinstance(size, int):
        factor = size / min(rows, columns)
        rows, columns = rows * factor, columns * factor
    elif size is not None:
        rows, columns = size
    return _multiple(rows, patch_size), _multiple(columns, patch_size)


def _multiple(side: float, patch_size: int) -> int:
    return max(1, int(side / patch_size + 0.5)) * patch_size


def _as_list(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, Image.Image)):
        return [images]
    return list(images)


def _to_rgb(image: ImageLike) -> np.ndarray:
    """One image as (row, column, 3) uint8."""
    if isinstance(image, (str, Path)):
        return read_rgb(image)
    if isinstance(image, Image.Image):
        return pillow_to_rgb(image)
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"an image must be a path, a PIL image or uint8 (row, column, 3); got {type(image).__name__}"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(
            f"an image array must be uint8 (row, column, 3); got {image.dtype} of shape {image.shape}. "
            "Float images that are already ImageNet-normalized (batch, 3, row, column) go to the encoder directly."
        )
    return image
