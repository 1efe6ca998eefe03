"""From one encoded image to one crop: with drawn parameters for training, deterministic for evaluation."""

import numpy as np
import torch

from codistill.data.augment.config import AugmentConfig
from codistill.data.augment.crop import decode_crop
from codistill.data.augment.draw import AugmentParams, Size, draw_params, for_aspect
from codistill.data.augment.fast import photometric
from codistill.imaging import (
    MAX_PIXELS,
    ImageHeader,
    bad_image,
    decode_rgb,
    read_header,
    resize_rgb,
    without_ends,
)


def augment_image(
    data: bytes,
    config: AugmentConfig,
    rng: np.random.Generator,
    size: Size,
    *,
    turned: bool = False,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, AugmentParams]:
    """Draw augmentation parameters and apply them.

    Args:
        data: the encoded image.
        config: the ranges to draw from.
        rng: generator for the parameters.
        size: of the output; if it is not a square, crops have its aspect ratio on average.
        turned: turn the image clockwise by 90 degrees first.
        name, max_pixels: see `read_header`.

    Returns:
        (row, column, 3) uint8, and the parameters. With implementation `device`, colours and blur are not yet applied.

    Raises:
        DataError: if the image cannot be used.
    """
    header = read_header(data, name=name, max_pixels=max_pixels)
    sides = (header.width, header.height) if turned else (header.height, header.width)
    params = draw_params(for_aspect(config, size), rng, *sides)
    with bad_image(name):
        return _apply(data, header, params, config, size, turned, name), params


def _apply(
    data: bytes,
    header: ImageHeader,
    params: AugmentParams,
    config: AugmentConfig,
    size: Size,
    turned: bool,
    name: str,
) -> np.ndarray:
    """Return (row, column, 3) uint8: the drawn crop, with the steps of the implementation that run on the host."""
    if config.implementation == "reference":
        # Imported here: torchvision imports PyTorch's compiler, which would cost every worker seconds.
        from codistill.data.augment.reference import augment_reference

        full = decode_rgb(data, header=header, name=name)
        full = np.ascontiguousarray(np.rot90(full, k=-1)) if turned else full
        crop = augment_reference(
            full, params, size, kernel=config.blur_kernel, threshold=config.solarize_threshold
        )
        return (crop * 255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    crop = decode_crop(data, header, params, size, turned=turned, reduce=config.reduced_decoding, name=name)
    if config.implementation == "fast":
        crop = photometric(crop, params, kernel=config.blur_kernel, threshold=config.solarize_threshold)
    return crop


def evaluation_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side to `size` (bicubic, antialiased) and take the central square.

    Of a long strip, only its middle is used.

    Args:
        image: (row, column, 3) uint8.
        size: side of the output.

    Returns:
        (size, size, 3) uint8.

    Raises:
        DataError: if memory is short.
    """
    image = without_ends(image)
    height, width = image.shape[:2]
    shorter = min(height, width)
    rows, columns = (max(size, int(size * side / shorter)) for side in (height, width))
    image = resize_rgb(image, (rows, columns))
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return image[top : top + size, left : left + size]
