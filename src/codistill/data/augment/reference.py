"""The published pipeline in plain torchvision v2, with given parameters: reference for the other implementations."""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from codistill.data.augment.draw import AugmentParams, Size, rows_and_columns

_JITTER = {
    "brightness": functional.adjust_brightness_image,
    "contrast": functional.adjust_contrast_image,
    "saturation": functional.adjust_saturation_image,
    "hue": functional.adjust_hue_image,
}


def augment_reference(
    image: np.ndarray, params: AugmentParams, size: Size, *, kernel: int, threshold: float
) -> Tensor:
    """Crop, resize, flip, jitter, grayscale, blur, solarize.

    Args:
        image: the full upright image, (row, column, 3) uint8.
        params, kernel, threshold: see `AugmentParams` and `AugmentConfig`.
        size: of the output.

    Returns:
        (3, row, column) float in 0..1.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    pixels = functional.resized_crop_image(
        pixels,
        params.top,
        params.left,
        params.height,
        params.width,
        list(rows_and_columns(size)),
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
    )
    if params.flip:
        pixels = functional.horizontal_flip_image(pixels)
    pixels = functional.to_dtype_image(pixels, torch.float32, scale=True)
    for kind, factor in params.jitter:
        pixels = _JITTER[kind](pixels, factor)
    if params.grayscale:
        pixels = functional.rgb_to_grayscale_image(pixels, num_output_channels=3)
    if params.blur_sigma is not None:
        pixels = functional.gaussian_blur_image(
            pixels, [kernel, kernel], [params.blur_sigma, params.blur_sigma]
        )
    if params.solarize:
        pixels = functional.solarize_image(pixels, threshold)
    return pixels
