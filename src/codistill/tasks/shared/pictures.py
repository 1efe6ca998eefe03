"""Label maps and depth maps as colours, laid over their image, and what the colours mean."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.metrics.segmentation import IGNORE

_GREY = (90, 90, 90)


def palette(num_classes: int) -> np.ndarray:
    """(256, 3) uint8 colours, far apart for neighbouring numbers, the same for everyone; ignored pixels are grey."""
    numbers = np.arange(num_classes)
    hue = (numbers * 0.618034) % 1.0
    saturation = np.array((0.85, 0.55, 0.70))[numbers % 3]
    value = np.array((0.95, 0.80, 0.62, 0.88))[numbers % 4]
    hsv = np.stack((hue * 179, saturation * 255, value * 255), axis=-1).astype(np.uint8)
    colours = np.full((256, 3), _GREY, dtype=np.uint8)
    colours[:num_classes] = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colours[IGNORE] = _GREY
    return colours


def label_picture(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(row, column) classes as (row, column, 3) uint8."""
    return palette(num_classes)[labels]


def depth_picture(depth: np.ndarray, nearest: float, farthest: float) -> np.ndarray:
    """(row, column) metres as (row, column, 3) uint8: near is warm, far is cold, unknown grey (logarithmic)."""
    known = np.isfinite(depth) & (depth > 0)
    safe = np.clip(np.where(known, depth, farthest), nearest, farthest)
    part = np.log(safe / nearest) / max(np.log(farthest / nearest), 1e-6)
    colours = cv2.applyColorMap(((1.0 - part) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(known[..., None], colours, np.array(_GREY, dtype=np.uint8))


def overlay(image: np.ndarray, colours: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Colours laid over an image of the same size, both (row, column, 3) uint8."""
    mixed = image.astype(np.float32) * (1.0 - strength) + colours.astype(np.float32) * strength
    return (mixed + 0.5).astype(np.uint8)


def legend_picture(names: Sequence[str], numbers: Sequence[int], width: int) -> np.ndarray:
    """A legend (row, width, 3) uint8: the colours of some classes beside their names, in lines.

    Args:
        names: of all classes, by number.
        numbers: the classes to list.
        width: in pixels.
    """
    font, line, gap = ImageFont.load_default(size=13), 20, 8
    colours = palette(len(names))
    canvas = Image.new("RGB", (width, line * (len(numbers) + 1)), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    left, top = gap, 2
    for number in numbers:
        length = int(draw.textlength(names[number], font=font)) + 30
        if left + length > width and left > gap:
            left, top = gap, top + line
        draw.rectangle((left, top + 2, left + 13, top + 15), fill=tuple(colours[number].tolist()))
        draw.text((left + 18, top), names[number], fill=(30, 30, 30), font=font)
        left += length
    return np.asarray(canvas)[: top + line]


def under(picture: np.ndarray, legend: np.ndarray) -> np.ndarray:
    """A legend below a picture, both (row, column, 3) uint8, on white where one is narrower."""
    width = max(picture.shape[1], legend.shape[1])
    parts = [
        np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255)
        for part in (picture, legend)
    ]
    return np.concatenate(parts)


def depth_bar(nearest: float, farthest: float, width: int) -> np.ndarray:
    """What the colours of `depth_picture` mean: a bar (row, width, 3) uint8 from near to far, with metres below it."""
    font, bar, gap = ImageFont.load_default(size=13), 14, 8
    canvas = Image.new("RGB", (width, bar + 24), (255, 255, 255))
    metres = np.geomspace(nearest, farthest, width - 2 * gap)
    colours = depth_picture(np.broadcast_to(metres, (bar - 4, len(metres))), nearest, farthest)
    canvas.paste(Image.fromarray(colours), (gap, 4))
    draw = ImageDraw.Draw(canvas)
    for part, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        text = f"{nearest * (farthest / nearest) ** part:.3g} m"
        draw.text(
            (gap + part * (width - 2 * gap), bar + 3), text, fill=(30, 30, 30), font=font, anchor=anchor
        )
    return np.asarray(canvas)
