"""Truth as pictures: depth and labels in colour, silhouettes, skeletons and matched points over an image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Rgb = NDArray[np.uint8]


def depth_picture(depth: NDArray[np.floating]) -> Rgb:
    """(row, column) metres as colours: near is warm and bright, far is cold and dark, infinity is grey."""
    finite = np.isfinite(depth)
    if not finite.any():
        return np.full((*depth.shape, 3), 128, np.uint8)
    inverse = 1.0 / np.maximum(np.where(finite, depth, np.inf), 1e-3)
    low, high = np.percentile(inverse[finite], [1, 99])
    t = np.clip((inverse - low) / max(high - low, 1e-9), 0, 1)
    stops = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    colors = np.array(
        [[18, 12, 60], [84, 32, 130], [190, 55, 100], [245, 130, 50], [252, 240, 165]], np.float64
    )
    out = np.stack([np.interp(t, stops, colors[:, k]) for k in range(3)], axis=-1)
    return np.where(finite[..., None], out, 128).astype(np.uint8)


def number_colors(count: int) -> Rgb:
    """(count, 3) colours that differ well: steps of the golden angle around the hue circle."""
    k = np.arange(count)
    hue = (k * 0.61803398875) % 1.0
    value = 0.65 + 0.35 * ((k // 3) % 2)
    saturation = 0.55 + 0.4 * ((k // 2) % 2)
    channels = [np.clip(np.abs(((hue + shift) % 1.0) * 6 - 3) - 1, 0, 1) for shift in (0.0, 2 / 3, 1 / 3)]
    rgb = np.stack([value * (1 - saturation * (1 - c)) for c in channels], axis=1)
    return (rgb * 255).astype(np.uint8)


def label_picture(labels: NDArray[np.integer], count: int) -> Rgb:
    """(row, column) numbers as colours; numbers from `count` on are black."""
    table = np.zeros((256, 3), np.uint8)
    table[:count] = number_colors(count)
    return table[np.minimum(labels, 255)]


def with_silhouettes(image: Rgb, instances: NDArray[np.integer], numbers: Sequence[int]) -> Rgb:
    """The image with some instances tinted and outlined."""
    out = image.astype(np.float32)
    colors = number_colors(max([*numbers, 1]) + 1).astype(np.float32)
    for number in numbers:
        mask = instances == number
        edge = mask & ~(_shift(mask, 1, 0) & _shift(mask, -1, 0) & _shift(mask, 0, 1) & _shift(mask, 0, -1))
        out[mask] = 0.65 * out[mask] + 0.35 * colors[number]
        out[edge] = colors[number]
    return out.astype(np.uint8)


def _shift(mask: NDArray[np.bool_], dy: int, dx: int) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def with_skeletons(image: Rgb, joints: NDArray[np.floating], chains: Sequence[Sequence[int]]) -> Rgb:
    """The image with bones drawn between joints (person, joint, 2) along chains of joint numbers."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for person in joints:
        for chain in chains:
            line = [(float(person[j, 0]), float(person[j, 1])) for j in chain]
            draw.line(line, fill=(255, 255, 255), width=2)
            for x, y in line:
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 60, 60))
    return np.asarray(canvas)


def with_points(image: Rgb, points: NDArray[np.floating]) -> Rgb:
    """The image with numbered points (N, 2) as dots whose colour tells the number."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for (x, y), color in zip(points.tolist(), number_colors(len(points)).tolist(), strict=True):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=tuple(color), outline=(0, 0, 0))
    return np.asarray(canvas)


def tiled(rows: Sequence[Sequence[Rgb]], gap: int = 2) -> Rgb:
    """Pictures of one size as a sheet on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            sheet[y : y + height, x : x + width] = picture
    return sheet
