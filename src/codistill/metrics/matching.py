"""Errors of pixel matches from dense ground truth, the share of matches below thresholds, and their coverage.

Takes matches (match, 2) as (x, y); gives distances in pixels, and shares.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor


def match_errors(
    pixels1: Num[Tensor, "match 2"],
    pixels2: Num[Tensor, "match 2"],
    true_pixels2: Float[Tensor, "row column 2"],
    visible: Bool[Tensor, "row column"],
) -> Float[Tensor, " match"]:
    """Distance in pixels between each match and the true position of its first pixel in the second view.

    Args:
        pixels1, pixels2: matches, (x, y); those in the first view are integers.
        true_pixels2: (row, column, 2) for every pixel of the first view, e.g. `Reprojection.pixels`.
        visible: (row, column), whether the pixel is visible in the second view.

    Returns:
        (match,); infinite if the pixel is not visible, since such a match is wrong wherever it points.
    """
    x, y = pixels1.long().unbind(-1)
    distance = (pixels2 - true_pixels2[y, x]).norm(dim=-1)
    return torch.where(visible[y, x], distance, torch.inf)


def shares_below(
    errors: Float[Tensor, " match"], thresholds: Sequence[float] = (1.0, 3.0, 5.0)
) -> dict[float, float]:
    """Share of errors strictly below each threshold, in [0, 1]; NaN without any match."""
    limits = torch.tensor(thresholds, device=errors.device, dtype=errors.dtype)
    shares = (errors[:, None] < limits).double().mean(0)
    return dict(zip(thresholds, shares.tolist(), strict=True))


def coverage(
    pixels1: Num[Tensor, "match 2"],
    errors: Float[Tensor, " match"],
    visible: Bool[Tensor, "row column"],
    *,
    threshold: float = 3.0,
    cell: int = 16,
) -> float:
    """Share of the first view's cells with a visible pixel that contain a match with an error below the threshold.

    Precision alone rewards a matcher with few matches; this measures how much of the common view they cover.

    Args:
        pixels1, errors: matches, and their errors from `match_errors`.
        visible: (row, column) of the first view.
        threshold: pixels.
        cell: side of the square cells, pixels.
    """
    rows, columns = visible.shape
    grid = (-(-rows // cell), -(-columns // cell))
    y, x = torch.nonzero(visible, as_tuple=True)
    common, hit = (torch.zeros(grid, dtype=torch.bool, device=visible.device) for _ in range(2))
    common[y // cell, x // cell] = True  # (cell row, cell column)
    right = pixels1[errors < threshold].long()
    hit[right[:, 1] // cell, right[:, 0] // cell] = True
    return int((hit & common).sum()) / max(1, int(common.sum()))
