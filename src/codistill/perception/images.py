"""Read images of any kind and resize them for an encoder: uncropped, with their aspect ratio up to whole patches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from codistill.encoders.preprocess import ImageLike, list_images, pixels_of
from codistill.errors import ConfigError, DataError
from codistill.imaging import resize_rgb
from codistill.imaging.normalize import normalized


@dataclass(frozen=True)
class Picture:
    """An image.

    Attributes:
        pixels: (row, column, 3) uint8, upright, at its own size.
        name: the file's name without its suffix, or the index of the image.
        path: path of the file; None for pixels.
        focal: focal length in pixels, if it was given.
    """

    pixels: UInt8[np.ndarray, "row column 3"]
    name: str
    path: Path | None = None
    focal: float | None = None


def as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names that are given as several, or as one."""
    return (names,) if isinstance(names, str) else tuple(names)


def read_pictures(
    images: ImageLike | Sequence[ImageLike],
    focal: float | Sequence[float | None] | None = None,
    names: str | Sequence[str] | None = None,
) -> list[Picture]:
    """Read images that are given as paths, bytes of files, PIL images, or arrays.

    Args:
        images: one or several, of any sizes.
        focal: focal lengths in pixels: one for all, or one for each (None: unknown).
        names: names of the images; None: the names of their files, else their indices.

    Raises:
        DataError: if there is no image, or one cannot be used.
        ConfigError: for focal lengths that are not positive numbers, or if there are more or fewer names or focal
            lengths than images.
    """
    listed = list_images(images)
    if not listed:
        raise DataError("no images were given; give at least one")
    focals = (
        [focal] * len(listed) if focal is None or isinstance(focal, (int, float, np.number)) else list(focal)
    )
    if len(focals) != len(listed):
        raise ConfigError(f"{len(focals)} focal lengths for {len(listed)} images: give one, or one for each")
    if any(value is not None and not 0 < value < math.inf for value in focals):
        raise ConfigError(f"focal lengths must be positive numbers of pixels; got {focals}")
    called: Sequence[str | None] = [None] * len(listed) if names is None else as_names(names)
    if len(called) != len(listed):
        raise ConfigError(f"{len(called)} names for {len(listed)} images: give one for each")
    given = enumerate(zip(listed, focals, called, strict=True), start=1)
    return [_picture(image, value, name, number) for number, (image, value, name) in given]


def _picture(image: ImageLike, focal: float | None, name: str | None, number: int) -> Picture:
    path = Path(image).expanduser() if isinstance(image, (str, Path)) else None
    if name is None:
        name = f"image {number}" if path is None else path.stem
    return Picture(pixels_of(image if path is None else path), name, path, focal)


def seen_size(shape: tuple[int, ...], size: int, patch_size: int) -> tuple[int, int]:
    """Rows and columns to which an image is resized: multiples of the patch size, at least one patch each.

    Args:
        shape: rows and columns of the image.
        size: pixels of the longer side, rounded to whole patches.
        patch_size: patch size of the encoder.
    """
    factor = size / max(shape[:2])
    rows, columns = (max(1, round(side * factor / patch_size)) * patch_size for side in shape[:2])
    return rows, columns


def encoder_input(
    pictures: Sequence[Picture], size: tuple[int, int], device: torch.device
) -> Float[Tensor, "batch 3 row column"]:
    """Resize images to (rows, columns), bicubic with antialiasing, and normalize them by ImageNet's mean and std."""
    stacked = np.stack([resize_rgb(picture.pixels, size) for picture in pictures])
    return normalized(torch.from_numpy(stacked).to(device, non_blocking=True))
