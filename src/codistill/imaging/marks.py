"""Draw over an image: points, outlines and skeletons, and matches between two images."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from codistill.imaging.colours import number_colours

_GAP = 8


def with_silhouettes(image: np.ndarray, instances: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """The image (row, column, 3) uint8 with chosen instances of a map (row, column) tinted and outlined."""
    out = image.astype(np.float32)
    colours = number_colours(max([*numbers, 1]) + 1).astype(np.float32)
    for number in numbers:
        mask = instances == number
        inner = cv2.erode(
            mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), borderValue=0
        )
        out[mask] = 0.65 * out[mask] + 0.35 * colours[number]
        out[mask & (inner == 0)] = colours[number]
    return out.astype(np.uint8)


def with_skeletons(image: np.ndarray, joints: np.ndarray, chains: Sequence[Sequence[int]]) -> np.ndarray:
    """The image with bones between joints (person, joint, 2), drawn along chains of joint numbers."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for person in joints:
        for chain in chains:
            line = [(float(person[j, 0]), float(person[j, 1])) for j in chain]
            draw.line(line, fill=(255, 255, 255), width=2)
            for x, y in line:
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 60, 60))
    return np.asarray(canvas)


def with_points(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The image with numbered points (N, 2) as dots, whose colour shows the number."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for (x, y), colour in zip(points.tolist(), number_colours(len(points)).tolist(), strict=True):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=tuple(colour), outline=(0, 0, 0))
    return np.asarray(canvas)


def match_picture(
    image_a: np.ndarray,
    image_b: np.ndarray,
    pixels_a: np.ndarray,
    pixels_b: np.ndarray,
    *,
    height: int = 320,
    most: int = 60,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """Draw both images at one height with lines between matched pixels, (row, column, 3) uint8.

    Args:
        image_a, image_b: uint8 (row, column, 3), of any sizes.
        pixels_a, pixels_b: (match, 2), pixels in these images.
        height: height of the picture, pixels.
        most: largest number of lines, evenly spread over the matches.
        colours: (match, 3) uint8; None: hues in the order of the matches.
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
    colours = _hues(count) if colours is None else colours
    for number in np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)) if count else ():
        start = (pixels_a[number] + 0.5) * scales[0] - 0.5
        end = (pixels_b[number] + 0.5) * scales[1] - 0.5 + shift
        colour = colours[number].tolist()
        points = [tuple(round(float(value)) for value in point) for point in (start, end)]
        cv2.line(canvas, points[0], points[1], colour, 1, cv2.LINE_AA)
        for point in points:
            cv2.circle(canvas, point, 2, colour, -1, cv2.LINE_AA)
    return canvas


def _hues(count: int) -> np.ndarray:
    """(count, 3) uint8, from red to violet."""
    hsv = np.full((1, max(1, count), 3), (0, 210, 240), dtype=np.uint8)
    hsv[0, :, 0] = np.round(np.linspace(0, 150, max(1, count)))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, :count]
