"""Small pictures for reports: a captioned grid of RGB arrays, written as a PNG or JPEG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.errors import DataError

CAPTION_HEIGHT = 22
GAP = 6


def as_picture(values: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """An array (row, column, 3) of bytes, or of floats in [0, 1], at (rows, columns), pixels kept square-edged."""
    if values.dtype != np.uint8:
        values = (np.clip(values, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.NEAREST)


def grid_picture(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str], cell: tuple[int, int]
) -> Image.Image:
    """Rows of equally many images under one caption per column.

    Args:
        rows: arrays (row, column, 3), uint8 or floats in [0, 1].
        captions: one per column.
        cell: rows and columns of a cell in pixels.
    """
    height, width = cell
    columns = len(captions)
    canvas = Image.new(
        "RGB",
        (columns * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP + CAPTION_HEIGHT),
        (255, 255, 255),
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=14)
    for column, caption in enumerate(captions):
        while caption and draw.textlength(caption, font=font) > width:
            caption = caption.removesuffix("…")[:-1] + "…"
        draw.text((GAP + column * (width + GAP), 3), caption, fill=(30, 30, 30), font=font)
    for r, row in enumerate(rows):
        for c, values in enumerate(row):
            place = (GAP + c * (width + GAP), CAPTION_HEIGHT + GAP + r * (height + GAP))
            canvas.paste(as_picture(values, cell), place)
    return canvas


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture; folders are made.

    Raises:
        DataError: if the suffix is not a picture's, or the file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise DataError(f"{path}: write pictures as .png, .jpg or .webp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
