"""Colours and blur of one crop in 8 bits, with OpenCV. Each step rounds to 8 bits, which a PSNR of 35 dB allows.

Brightness, contrast and saturation are affine in RGB, one pass each. A hue shift is an addition modulo 256 to OpenCV's
full-range hue. Solarizing at one half takes the smaller of a pixel and its inverse.
"""

import cv2
import numpy as np

from codistill.data.augment.draw import AugmentParams

GREY_WEIGHTS = np.array([0.2989, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue: ITU-R BT.601, as rounded by torchvision."""

_IDENTITY = np.eye(3, dtype=np.float32)
_TO_GREY = np.repeat(GREY_WEIGHTS[None], 3, axis=0)


def photometric(image: np.ndarray, params: AugmentParams, *, kernel: int, threshold: float) -> np.ndarray:
    """Jitter, grayscale, blur and solarize.

    Args:
        image: (row, column, 3) uint8, contiguous; may be overwritten.
        params, kernel, threshold: see `AugmentParams` and `AugmentConfig`.
    """
    for kind, factor in params.jitter:
        image = _JITTER[kind](image, factor)
    if params.grayscale:
        image = cv2.transform(image, _TO_GREY)
    if params.blur_sigma is not None:
        weights = cv2.getGaussianKernel(kernel, params.blur_sigma)
        # Twice as fast as GaussianBlur, whose fixed-point arithmetic rounds between the two passes.
        image = cv2.sepFilter2D(image, -1, weights, weights, borderType=cv2.BORDER_REFLECT_101)
    if params.solarize:
        inverted = cv2.bitwise_not(image)
        image = (
            cv2.min(image, inverted)
            if threshold == 0.5
            else np.where(image >= 255 * threshold, inverted, image)
        )
    return image


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=factor)


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return cv2.addWeighted(image, factor, image, 0, (1 - factor) * mean)


def _saturation(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.transform(image, factor * _IDENTITY + (1 - factor) * _TO_GREY)


def _hue(image: np.ndarray, shift: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    row = np.zeros(3 * hsv.shape[1], dtype=np.uint8)  # contiguous rows add faster than every third value
    row[::3] = round(shift * 256) % 256
    rows = hsv.reshape(len(hsv), -1)
    rows += row
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


_JITTER = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}
