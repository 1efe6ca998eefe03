"""Ridge regression in closed form: the baseline that predicts tokens from raw pixels and position.

The penalty is chosen on a held-out part of the training data.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.nn.moments import RidgeSums

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Candidate penalties, as multiples of the features' mean square."""


def patch_features(
    images: Float[Tensor, "batch 3 row column"], patch_size: int
) -> Float[Tensor, "token feature"]:
    """Features of each patch: its raw (normalized) pixels, and its position as a one-hot vector.

    Tokens are (image, patch) in row-major order, as in `Tokens.patches`.
    """
    batch, _, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    pixels = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    pixels = pixels.permute(0, 2, 3, 1, 4, 5).reshape(batch * rows * columns, -1)
    eye = torch.eye(rows * columns, dtype=images.dtype, device=images.device).repeat(batch, 1)
    return torch.cat((pixels, eye), dim=1)


def fit_ridge(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float]:
    """Fit ridge weights; the last fifth of the parts chooses the penalty, then all parts are used.

    Args:
        parts: (token, feature) and (token, channel) pairs, e.g. one per batch; at least two.
    """
    if len(parts) < 2:
        raise DataError(
            f"ridge regression needs at least two batches to choose its penalty; got {len(parts)}"
        )
    split = max(1, len(parts) - max(1, len(parts) // 5))
    fitted, whole = RidgeSums(intercept=False), RidgeSums(intercept=False)
    for index, (x, y) in enumerate(parts):
        whole.add(x.double(), y.double())
        if index < split:
            fitted.add(x.double(), y.double())

    def weights_of(sums: RidgeSums, penalty: float) -> Tensor:
        return sums.solve(penalty * sums.variance())[0]

    def held_in_cosine(penalty: float) -> float:
        weights = weights_of(fitted, penalty)
        cosines = [
            torch.nn.functional.cosine_similarity(x.double() @ weights, y.double(), dim=1)
            for x, y in parts[split:]
        ]
        return torch.cat(cosines).mean().item()

    best = max(PENALTIES, key=held_in_cosine)
    return weights_of(whole, best), best
