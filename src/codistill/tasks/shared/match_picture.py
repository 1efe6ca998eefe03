"""Matches drawn between two images side by side, coloured by place or by how wrong they are."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 8


def match_picture(
    image_a: np.ndarray,
    image_b: np.ndarray,
    pixels_a: np.ndarray,
    pixels_b: np.ndarray,
    *,
    height: int = 320,
    most: int = 60,
    wrong: np.ndarray | None = None,
) -> np.ndarray:
    """Both images at one height with lines between matched pixels, (row, column, 3) uint8.

    Args:
        image_a, image_b: uint8 (row, column, 3), of any sizes.
        pixels_a, pixels_b: (match, 2) in them.
        height: of the picture, pixels.
        most: lines drawn, evenly spread over the matches.
        wrong: (match,), 0 draws a line green, 1 or more red; None colours them by place, so that they can be told
            apart.
    """
    scales = [height / image.shape[0] for image in (image_a, image_b)]
    shown = [
        cv2.resize(
            image,
            (max(1, round(image.shape[1] * scale)), height),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        )
        for image, scale in zip((image_a, image_b), scales, strict=True)
    ]
    gap = np.full((height, _GAP, 3), 255, dtype=np.uint8)
    canvas = np.ascontiguousarray(np.concatenate((shown[0], gap, shown[1]), axis=1))
    shift = np.array([shown[0].shape[1] + _GAP, 0.0])
    count = len(pixels_a)
    for number in np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)) if count else ():
        start = (pixels_a[number] + 0.5) * scales[0] - 0.5
        end = (pixels_b[number] + 0.5) * scales[1] - 0.5 + shift
        colour = _colour(number / max(1, count - 1)) if wrong is None else error_colour(float(wrong[number]))
        points = [tuple(round(float(value)) for value in point) for point in (start, end)]
        cv2.line(canvas, points[0], points[1], colour, 1, cv2.LINE_AA)
        for point in points:
            cv2.circle(canvas, point, 2, colour, -1, cv2.LINE_AA)
    return canvas


def error_colour(wrong: float) -> tuple[int, int, int]:
    """Green for 0, yellow between, red for 1 and more."""
    return _colour(0.4 * (1.0 - min(max(wrong, 0.0), 1.0)))


def error_legend(texts: tuple[str, str], width: int) -> np.ndarray:
    """What the colours of errors mean: a bar (row, width, 3) uint8 with texts for its two ends."""
    font, bar, gap = ImageFont.load_default(size=13), 14, 8
    canvas = Image.new("RGB", (width, bar + 24), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    length = width - 2 * gap
    for column in range(length):
        draw.line((gap + column, 4, gap + column, bar), fill=error_colour(column / max(1, length - 1)))
    for text, place, anchor in zip(texts, (gap, width - gap), ("la", "ra"), strict=True):
        draw.text((place, bar + 3), text, fill=(30, 30, 30), font=font, anchor=anchor)
    return np.asarray(canvas)


def _colour(part: float) -> tuple[int, int, int]:
    """A hue for a number in [0, 1]."""
    pixel = np.array([[[round(part * 150), 210, 240]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue
