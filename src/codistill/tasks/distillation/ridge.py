"""Ridge regression in closed form, streaming: the baseline "what raw pixels and position already tell".

Normal equations are accumulated in fp64; the penalty is chosen on a held-in part of the training data.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Candidates, as multiples of the mean feature variance."""


def patch_features(
    images: Float[Tensor, "batch 3 row column"], patch_size: int
) -> Float[Tensor, "token feature"]:
    """Per patch its raw (normalized) pixels, its row and column as one-hot words, and 1.

    Tokens are (image, patch) in row-major order, as in `Tokens.patches`.
    """
    batch, _, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    pixels = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    pixels = pixels.permute(0, 2, 3, 1, 4, 5).reshape(batch * rows * columns, -1)
    eye = torch.eye(rows * columns, dtype=images.dtype, device=images.device).repeat(batch, 1)
    return torch.cat((pixels, eye), dim=1)


class RidgeSums:
    """Sums of a ridge regression: feature covariance and feature-target products."""

    def __init__(self) -> None:
        self.xx: Tensor | None = None
        self.xy: Tensor | None = None
        self.count = 0

    def add(self, x: Float[Tensor, "token feature"], y: Float[Tensor, "token channel"]) -> None:
        """Add tokens."""
        x, y = x.double(), y.double()
        xx, xy = x.T @ x, x.T @ y
        self.xx = xx if self.xx is None else self.xx + xx
        self.xy = xy if self.xy is None else self.xy + xy
        self.count += x.shape[0]

    def solve(self, penalty: float) -> Float[Tensor, "feature channel"]:
        """Weights for a penalty, a multiple of the mean feature power.

        Raises:
            DataError: if nothing was added.
        """
        if self.xx is None or self.xy is None:
            raise DataError("ridge regression got no tokens")
        scale = penalty * self.xx.diagonal().mean()
        eye = torch.eye(self.xx.shape[0], dtype=self.xx.dtype)
        return torch.linalg.solve(self.xx + scale * eye, self.xy)


def fit_ridge(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float]:
    """Ridge weights and the penalty chosen: the last fifth of the parts picks it, then all are used.

    Args:
        parts: (token, feature) and (token, channel) pairs, e.g. one per batch; at least two.
    """
    if len(parts) < 2:
        raise DataError(
            f"ridge regression needs at least two batches to choose its penalty; got {len(parts)}"
        )
    split = max(1, len(parts) - max(1, len(parts) // 5))
    fitted, whole = RidgeSums(), RidgeSums()
    for index, (x, y) in enumerate(parts):
        whole.add(x, y)
        if index < split:
            fitted.add(x, y)

    def held_in_cosine(penalty: float) -> float:
        weights = fitted.solve(penalty)
        cosines = [
            torch.nn.functional.cosine_similarity(x.double() @ weights, y.double(), dim=1)
            for x, y in parts[split:]
        ]
        return torch.cat(cosines).mean().item()

    best = max(PENALTIES, key=held_in_cosine)
    return whole.solve(best), best
