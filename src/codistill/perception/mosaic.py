"""Arrange the pictures of one image in a grid with their names; all grids of a video have one size."""

import math
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.perception.sheet import fitted

LONGEST = 1280
"""Largest number of pixels of the grid's longer side."""

_FONT = ImageFont.load_default(size=15)


def mosaic(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draw the grid, (row, column, 3) uint8 with even sides.

    Args:
        pictures: (row, column, 3) uint8 by name; the first one determines the shape of all cells.
    """
    rows, columns = next(iter(pictures.values())).shape[:2]
    across = (
        math.ceil(math.sqrt(len(pictures) * rows / columns))
        if rows > columns
        else math.ceil(math.sqrt(len(pictures)))
    )
    down = math.ceil(len(pictures) / across)
    scale = min(1.0, LONGEST / (across * columns), LONGEST / (down * rows))
    width, height = (max(2, round(side * scale) // 2 * 2) for side in (columns, rows))
    canvas = np.full((down * height, across * width, 3), 20, np.uint8)
    for number, (name, picture) in enumerate(pictures.items()):
        top, left = number // across * height, number % across * width
        canvas[top : top + height, left : left + width] = _named(fitted(picture, width, height), name)
    return canvas


def _named(picture: np.ndarray, name: str) -> np.ndarray:
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    style = {"font": _FONT, "fill": (255, 255, 255), "stroke_width": 2, "stroke_fill": (20, 20, 20)}
    draw.text((8, 5), name, **style)
    return np.asarray(canvas)
