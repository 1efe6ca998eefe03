"""Show label maps and depth maps as colours, also laid over their image."""

from functools import cache

import cv2
import numpy as np

UNKNOWN = (90, 90, 90)
"""Grey for pixels that are ignored, have no class, or no depth."""


def number_colours(count: int) -> np.ndarray:
    """Fixed colours (count, 3) uint8 that differ strongly between neighbouring numbers; they repeat after 256."""
    return _table()[np.arange(count) % 256]


@cache
def _table() -> np.ndarray:
    # The table always has the same length, since OpenCV rounds the last few entries of a row differently.
    numbers = np.arange(256)
    hue = (numbers * 0.618034) % 1.0  # steps of the golden angle
    saturation = np.array((0.85, 0.55, 0.70))[numbers % 3]
    value = np.array((0.95, 0.80, 0.62, 0.88))[numbers % 4]
    hsv = np.stack((hue * 179, saturation * 255, value * 255), axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def label_picture(labels: np.ndarray, count: int) -> np.ndarray:
    """Colour (row, column) uint8 numbers as (row, column, 3) uint8; 255, and numbers from `count` on, are grey."""
    table = np.full((256, 3), UNKNOWN, dtype=np.uint8)
    count = min(count, 255)
    table[:count] = number_colours(count)
    return table[labels]


def depth_range(*depths: np.ndarray) -> tuple[float, float]:
    """Range of metres to show for some maps: the 1st and 99th percentile of known depths."""
    known = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in depths])
    if not known.size:
        return 1.0, 10.0
    near, far = (float(value) for value in np.percentile(known, [1, 99]))
    return near, max(far, near * 1.01)


def depth_picture(depth: np.ndarray, nearest: float, farthest: float) -> np.ndarray:
    """Colour metres (row, column) as (row, column, 3) uint8 on a log scale: near is warm, far is cold, unknown grey."""
    known = np.isfinite(depth) & (depth > 0)
    safe = np.clip(np.where(known, depth, farthest), nearest, farthest)
    part = np.log(safe / nearest) / max(np.log(farthest / nearest), 1e-6)
    colours = cv2.applyColorMap(((1.0 - part) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(known[..., None], colours, np.array(UNKNOWN, dtype=np.uint8))


def overlay(image: np.ndarray, colours: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Lay colours over an image of the same size, both (row, column, 3) uint8."""
    mixed = image.astype(np.float32) * (1.0 - strength) + colours.astype(np.float32) * strength
    return (mixed + 0.5).astype(np.uint8)


def error_colours(wrong: np.ndarray) -> np.ndarray:
    """Colours (error, 3) uint8 of errors (error,): green for 0, yellow in between, red for 1 and more."""
    hsv = np.full((1, max(1, len(wrong)), 3), (0, 210, 240), dtype=np.uint8)
    hsv[0, : len(wrong), 0] = np.round(60.0 * (1.0 - np.clip(wrong, 0.0, 1.0)))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, : len(wrong)]
