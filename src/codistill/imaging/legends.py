"""Legends of label and depth pictures, as strips to put below the pictures."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.imaging.colours import depth_picture, error_colours, number_colours

_INK = (30, 30, 30)


def legend_picture(names: Sequence[str], numbers: Sequence[int], width: int) -> np.ndarray:
    """A legend (row, width, 3) uint8: the colours of some classes next to their names, in lines.

    Args:
        names: names of all classes, by number.
        numbers: the classes to list.
        width: width in pixels.
    """
    font, line, gap = ImageFont.load_default(size=13), 20, 8
    colours = number_colours(len(names))
    canvas = Image.new("RGB", (width, line * (len(numbers) + 1)), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    left, top = gap, 2
    for number in numbers:
        length = int(draw.textlength(names[number], font=font)) + 30
        if left + length > width and left > gap:
            left, top = gap, top + line
        draw.rectangle((left, top + 2, left + 13, top + 15), fill=tuple(colours[number].tolist()))
        draw.text((left + 18, top), names[number], fill=_INK, font=font)
        left += length
    return np.asarray(canvas)[: top + line]


def depth_bar(nearest: float, farthest: float, width: int) -> np.ndarray:
    """The legend of `depth_picture`: a bar (row, width, 3) uint8 from near to far, with metres below it."""
    font, bar, gap = ImageFont.load_default(size=13), 14, 8
    canvas = Image.new("RGB", (width, bar + 24), (255, 255, 255))
    metres = np.geomspace(nearest, farthest, width - 2 * gap)
    colours = depth_picture(np.broadcast_to(metres, (bar - 4, len(metres))), nearest, farthest)
    canvas.paste(Image.fromarray(colours), (gap, 4))
    draw = ImageDraw.Draw(canvas)
    for part, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        text = f"{nearest * (farthest / nearest) ** part:.3g} m"
        draw.text((gap + part * (width - 2 * gap), bar + 3), text, fill=_INK, font=font, anchor=anchor)
    return np.asarray(canvas)


def error_legend(texts: tuple[str, str], width: int) -> np.ndarray:
    """Legend of `error_colours`: a bar (row, width, 3) uint8 with texts for its two ends."""
    return _bar(error_colours, texts, width)


def depth_legend(width: int) -> np.ndarray:
    """Legend of depth colours if every picture has its own range: a bar (row, width, 3) uint8."""
    texts = ("near", "far (each row has its own range; grey: unknown)")
    return _bar(lambda part: depth_picture(np.exp(part)[None], 1.0, np.e), texts, width)


def _bar(colours: Callable[[np.ndarray], np.ndarray], texts: tuple[str, str], width: int) -> np.ndarray:
    """A bar with texts for its ends; `colours` maps values from 0 to 1 to colours."""
    font, bar, gap = ImageFont.load_default(size=13), 14, 8
    canvas = Image.new("RGB", (width, bar + 24), (255, 255, 255))
    strip = np.broadcast_to(colours(np.linspace(0.0, 1.0, width - 2 * gap)), (bar - 4, width - 2 * gap, 3))
    canvas.paste(Image.fromarray(strip.copy()), (gap, 4))
    draw = ImageDraw.Draw(canvas)
    for text, place, anchor in zip(texts, (gap, width - gap), ("la", "ra"), strict=True):
        draw.text((place, bar + 3), text, fill=_INK, font=font, anchor=anchor)
    return np.asarray(canvas)
