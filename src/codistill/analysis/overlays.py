"""Pictures of attention and of matched patches: maps over images in, RGB arrays out.

All images are (row, column, 3) floats in [0, 1]; all maps are on the patch grid.
"""

import colorsys

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from codistill.imaging.marks import match_picture

Picture = np.ndarray


def heat(image: Picture, values: Float[Tensor, "row column"]) -> Picture:
    """Draw a map over a grey image: transparent at its minimum, yellow at its maximum."""
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low).clamp(min=1e-12)
    amount = _enlarged(scaled[None], image)[..., :1]
    grey = image.mean(axis=2, keepdims=True) * 0.55
    hot = np.concatenate([amount**0.6, amount**1.4, 0.12 * (1 - amount)], axis=2)
    return np.clip(grey * (1 - amount) + hot * amount, 0.0, 1.0)


def position_colors(rows: int, columns: int) -> Float[Tensor, "row column 3"]:
    """A colour for every position of a grid: hue by column, brightness by row."""
    hues = np.array([colorsys.hsv_to_rgb(0.85 * c / max(1, columns - 1), 0.75, 1.0) for c in range(columns)])
    light = np.linspace(1.0, 0.45, rows)
    return torch.from_numpy((light[:, None, None] * hues[None]).astype(np.float32))


def tinted(image: Picture, colors: Float[Tensor, "row column 3"], amount: float = 0.65) -> Picture:
    """Tint an image with the colours of its patches."""
    over = _enlarged(colors.permute(2, 0, 1), image, smooth=False)
    grey = image.mean(axis=2, keepdims=True)
    return (1 - amount) * image + amount * over * (0.35 + 0.65 * grey)


def mutual_matches(
    forward: Int[Tensor, " patch"],
    backward: Int[Tensor, " other"],
    similarity: Float[Tensor, " patch"],
    count: int,
) -> list[tuple[int, int, float]]:
    """The `count` most similar mutual neighbours, best first: (patch, other patch, similarity)."""
    own = torch.arange(len(forward))
    kept = torch.nonzero(backward[forward] == own).flatten()
    order = kept[similarity[kept].argsort(descending=True)][:count]
    return [(i, int(forward[i]), float(similarity[i])) for i in order.tolist()]


def lines_between(
    first: Picture,
    second: Picture,
    pairs: list[tuple[int, int, float]],
    grids: tuple[tuple[int, int], tuple[int, int]],
) -> Picture:
    """Draw two images side by side, uint8, with lines between matched patches, coloured by position in the first."""
    colours = (255 * position_colors(*grids[0]).flatten(0, 1)).numpy().astype(np.uint8)
    chosen, others = [one for one, _, _ in pairs], [other for _, other, _ in pairs]
    return match_picture(
        (first * 255).astype(np.uint8),
        (second * 255).astype(np.uint8),
        _centers(chosen, grids[0], first),
        _centers(others, grids[1], second),
        height=448,
        colours=colours[chosen],
    )


def _centers(patches: list[int], grid: tuple[int, int], image: Picture) -> np.ndarray:
    """Pixel coordinates (patch, 2), as (x, y), of the centres of some patches."""
    rows, columns = np.divmod(np.array(patches, dtype=int), grid[1])
    height, width = image.shape[:2]
    return np.stack([(columns + 0.5) * width / grid[1], (rows + 0.5) * height / grid[0]], axis=1) - 0.5


def _enlarged(maps: Float[Tensor, "channel row column"], image: Picture, smooth: bool = True) -> Picture:
    size = (image.shape[0], image.shape[1])
    large = torch.nn.functional.interpolate(
        maps[None].float().cpu(), size=size, mode="bilinear" if smooth else "nearest"
    )
    return large[0].permute(1, 2, 0).numpy()
