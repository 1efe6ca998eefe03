"""Predict a large image by sliding windows: window by window, with overlaps averaged.

Source: the `slide` test mode of mmsegmentation 0.x.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Starts of the windows along an axis: every `stride`, the last one moved inside; only 0 if one window suffices."""
    count = max(-(-(length - window) // stride), 0) + 1
    return [max(min(number * stride, length - window), 0) for number in range(count)]


def slide(
    images: Float[Tensor, "batch 3 row column"],
    predict: Callable[[Tensor], Tensor],
    window: tuple[int, int],
    stride: tuple[int, int],
    *,
    at_once: int = 8,
) -> Float[Tensor, "batch class row column"]:
    """Average the predictions for all windows.

    Args:
        images: images of one size.
        predict: maps windows (batch, 3, row, column) to maps (batch, class, row, column) of the same size.
        window, stride: rows and columns.
        at_once: largest batch of windows for `predict`.
    """
    rows, columns = images.shape[-2:]
    height, width = min(window[0], rows), min(window[1], columns)
    places = [
        (top, left)
        for top in window_starts(rows, window[0], stride[0])
        for left in window_starts(columns, window[1], stride[1])
    ]
    total, count = None, images.new_zeros(rows, columns)
    per_call = max(1, at_once // images.shape[0])
    for start in range(0, len(places), per_call):
        chosen = places[start : start + per_call]
        parts = [images[..., top : top + height, left : left + width] for top, left in chosen]
        maps = predict(torch.cat(parts)).float().chunk(len(chosen))
        for (top, left), part in zip(chosen, maps, strict=True):
            if total is None:
                total = part.new_zeros(images.shape[0], part.shape[1], rows, columns)
            total[..., top : top + height, left : left + width] += part
            count[top : top + height, left : left + width] += 1
    assert total is not None
    return total / count
