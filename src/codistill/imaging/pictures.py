"""Combine pictures: grids with captions, and pictures next to each other; written as PNG, JPEG or WebP."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.errors import DataError
from codistill.files.writing import atomically

CAPTION_HEIGHT = 22
GAP = 6
_FONT = ImageFont.load_default(size=14)
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def as_picture(values: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    """Resize an array (row, column, 3) to the largest picture of its aspect ratio that fits a cell (rows, columns).

    The array holds bytes, or floats in [0, 1]. Small maps keep hard pixel edges; photographs are smoothed.
    """
    if values.dtype != np.uint8:
        values = (np.clip(values, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    height, width = values.shape[:2]
    scale = min(cell[0] / height, cell[1] / width)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(values).resize(size, method)


def grid_picture(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str], cell: tuple[int, int]
) -> Image.Image:
    """Rows with the same number of images each, under one caption per column.

    Args:
        rows: arrays (row, column, 3), uint8 or floats in [0, 1].
        captions: one per column; without captions their line is left out.
        cell: rows and columns of the largest picture, in pixels; rows of wide pictures are lower, and columns of tall
            pictures narrower, as long as their captions fit.
    """
    columns = max(map(len, (captions, *rows)))
    start = (CAPTION_HEIGHT if captions else 0) + GAP
    pictures = [[as_picture(values, cell) for values in row] for row in rows]
    wide = [picture.width for row in pictures for picture in row]
    width = min(cell[1], max(*wide, *(math.ceil(_FONT.getlength(text)) for text in captions), 1))
    heights = [max(picture.height for picture in row) for row in pictures]
    size = (columns * (width + GAP) + GAP, start + sum(heights) + GAP * len(rows))
    canvas = Image.new("RGB", size, (255, 255, 255))
    _write_captions(canvas, captions, width)
    top = start
    for row, height in zip(pictures, heights, strict=True):
        for column, picture in enumerate(row):
            left = GAP + column * (width + GAP) + (width - picture.width) // 2
            canvas.paste(picture, (left, top + (height - picture.height) // 2))
        top += height + GAP
    return canvas


def below(*pictures: np.ndarray, gap: int = 0) -> np.ndarray:
    """Place pictures (row, column, 3) uint8 below each other; narrower ones are padded with white."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [
        np.pad(
            picture, ((gap if number else 0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255
        )
        for number, picture in enumerate(pictures)
    ]
    return np.concatenate(rows)


def beside(*pictures: np.ndarray, gap: int = 0) -> np.ndarray:
    """Place pictures (row, column, 3) uint8 next to each other; lower ones are padded with white."""
    return below(*(picture.swapaxes(0, 1) for picture in pictures), gap=gap).swapaxes(0, 1)


def _write_captions(canvas: Image.Image, captions: Sequence[str], width: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for column, caption in enumerate(captions):
        while len(caption) > 1 and _FONT.getlength(caption) > width:
            caption = caption.removesuffix("…")[:-1] + "…"
        draw.text((GAP + column * (width + GAP), 3), caption, fill=(30, 30, 30), font=_FONT)


def check_picture(path: Path) -> None:
    """Refuse a path at which no picture can be written, before anything is computed.

    Raises:
        DataError: if the suffix is not that of a picture, or there is a folder.
    """
    if path.suffix.lower() not in _FORMATS:
        raise DataError(f"{path}: write pictures as .png, .jpg or .webp")
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture; missing folders are created.

    Raises:
        DataError: see `check_picture`.
        WriteError: if the file cannot be written.
    """
    check_picture(path)
    with atomically(path) as temporary:
        picture.save(temporary, _FORMATS[path.suffix.lower()], quality=90)


def save_array(values: np.ndarray, path: Path) -> None:
    """Write an array as `.npy`, atomically; see `files/writing.py`."""
    with atomically(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
