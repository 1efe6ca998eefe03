"""Drawing what happens to one image: a plain record, with the distribution of torchvision's transforms."""

import math
from dataclasses import dataclass

import numpy as np

from codistill.data.augment.config import AugmentConfig

JITTERS = ("brightness", "contrast", "saturation", "hue")
_CROP_ATTEMPTS = 10


@dataclass(frozen=True)
class AugmentParams:
    """What happens to one image.

    Attributes:
        top, left, height, width: the crop, in pixels of the full upright image.
        flip: mirror left and right.
        jitter: (kind, factor) in the order in which they apply; empty for none. A hue factor is a shift in turns.
        grayscale: lose the colour.
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

    Colours and blur are drawn before the crop, so that they do not depend on the size of the image.
    """
    flip, jitter, grayscale, blur, solarize = (rng.random(5) < _chances(config)).tolist()
    factors = _draw_jitter(config, rng)
    sigma = float(rng.uniform(*config.blur_sigma))
    top, left, height, width = _draw_crop(config, rng, image_height, image_width)
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


def _draw_jitter(config: AugmentConfig, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """(kind, factor) in a random order; a kind whose range is empty is left out."""
    draws = (2 * rng.random(4) - 1).tolist()
    ranges = (config.brightness, config.contrast, config.saturation, config.hue)
    factors = [
        r * d + (0.0 if kind == "hue" else 1.0) for kind, r, d in zip(JITTERS, ranges, draws, strict=True)
    ]
    order = np.argsort(rng.random(4)).tolist()
    return tuple((JITTERS[index], factors[index]) for index in order if ranges[index] > 0)


def _draw_crop(
    config: AugmentConfig, rng: np.random.Generator, image_height: int, image_width: int
) -> tuple[int, int, int, int]:
    """Random resized crop: ten draws of area and log-uniform ratio; the largest centred crop if none fits."""
    draws = rng.random((_CROP_ATTEMPTS, 2))
    place = rng.random(2)
    log_ratio = (math.log(config.ratio[0]), math.log(config.ratio[1]))
    for area_draw, ratio_draw in draws.tolist():
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
