"""Draw the augmentation parameters of an image, with the distribution of torchvision's transforms."""

import math
from dataclasses import dataclass, replace

import numpy as np

from codistill.data.augment.config import AugmentConfig

JITTERS = ("brightness", "contrast", "saturation", "hue")
_CROP_ATTEMPTS = 10

Size = int | tuple[int, int]
"""Pixels of an image: the side of a square, or rows and columns."""


def rows_and_columns(size: Size) -> tuple[int, int]:
    """Rows and columns of a size."""
    return (size, size) if isinstance(size, int) else size


def for_aspect(config: AugmentConfig, size: Size) -> AugmentConfig:
    """Return the ranges for crops of a given size: width / height is drawn around that of the output.

    The crop is then not distorted.
    """
    rows, columns = rows_and_columns(size)
    if rows == columns:
        return config
    low, high = (bound * columns / rows for bound in config.ratio)
    return replace(config, ratio=(low, high))


@dataclass(frozen=True)
class AugmentParams:
    """Augmentation parameters of one image.

    Attributes:
        top, left, height, width: the crop, in pixels of the full upright image.
        flip: mirror left and right.
        jitter: (kind, factor) in the order in which they apply; empty for none. The factor of hue is a shift in turns.
        grayscale: remove all colour.
        blur_sigma: standard deviation in output pixels, or None.
        solarize: invert bright pixels.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool
    jitter: tuple[tuple[str, float], ...]
    grayscale: bool
    blur_sigma: float | None
    solarize: bool


def draw_params(
    config: AugmentConfig, rng: np.random.Generator, image_height: int, image_width: int
) -> AugmentParams:
    """Draw the parameters for an image of (image_height, image_width) pixels.

    All random numbers are drawn at once, needed or not, so that colours and blur do not depend on the image's size.
    """
    draws = iter(rng.random(5 + 4 + 4 + 1 + 2 + 2 * _CROP_ATTEMPTS).tolist())
    flip, jitter, grayscale, blur, solarize = (next(draws) < chance for chance in _chances(config))
    factors = _jitter([next(draws) for _ in JITTERS], [next(draws) for _ in JITTERS], config)
    sigma = _between(config.blur_sigma, next(draws))
    place = (next(draws), next(draws))
    top, left, height, width = _crop(list(draws), place, config, image_height, image_width)
    return AugmentParams(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=flip,
        jitter=factors if jitter else (),
        grayscale=grayscale,
        blur_sigma=sigma if blur else None,
        solarize=solarize,
    )


def _chances(config: AugmentConfig) -> tuple[float, ...]:
    return config.flip, config.jitter, config.grayscale, config.blur, config.solarize


def _jitter(
    strengths: list[float], order: list[float], config: AugmentConfig
) -> tuple[tuple[str, float], ...]:
    """(kind, factor) in a random order; a kind whose range is empty is left out."""
    ranges = (config.brightness, config.contrast, config.saturation, config.hue)
    factors = [
        _between((-most, most), draw) + (kind != "hue")  # around 1; a hue shift around 0
        for kind, most, draw in zip(JITTERS, ranges, strengths, strict=True)
    ]
    places = sorted(range(len(JITTERS)), key=order.__getitem__)  # a random permutation
    return tuple((JITTERS[index], factors[index]) for index in places if ranges[index] > 0)


def _crop(
    draws: list[float],
    place: tuple[float, float],
    config: AugmentConfig,
    image_height: int,
    image_width: int,
) -> tuple[int, int, int, int]:
    """Random resized crop: ten attempts at an area and a log-uniform ratio, or else the largest centred crop."""
    log_ratio = (math.log(config.ratio[0]), math.log(config.ratio[1]))
    for area_draw, ratio_draw in zip(draws[::2], draws[1::2], strict=True):
        area = image_height * image_width * _between(config.scale, area_draw)
        ratio = math.exp(_between(log_ratio, ratio_draw))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= image_width and 0 < height <= image_height:
            top = int(place[0] * (image_height - height + 1))
            left = int(place[1] * (image_width - width + 1))
            return top, left, height, width
    height, width = image_height, image_width
    if width / height < config.ratio[0]:
        height = min(image_height, max(1, round(width / config.ratio[0])))
    elif width / height > config.ratio[1]:
        width = min(image_width, max(1, round(height * config.ratio[1])))
    return (image_height - height) // 2, (image_width - width) // 2, height, width


def _between(bounds: tuple[float, float], draw: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * draw
