"""Monocular depth scores: from predicted and true depth in metres to one row of numbers per image.

A data set's score is the mean of its images' scores (so "rmse" is a mean of RMSEs, not a pooled one). Source: the
evaluation that DINOv2 took from the Monocular-Depth-Estimation-Toolbox; Eigen et al., 2014.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from codistill.errors import DataError

DEPTH_METRICS = ("a1", "a2", "a3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")
"""Columns of `depth_scores`: three shares in [0, 1], then errors; rmse and sq_rel in metres."""

NYU_EIGEN_CROP = (45, 471, 41, 601)
"""First and last row (exclusive), first and last column (exclusive), of 480 x 640 images."""


def valid_depth(
    truth: Float[Tensor, "*batch row column"],
    nearest: float = 1e-3,
    farthest: float = 10.0,
    crop: tuple[int, int, int, int] | None = None,
) -> Bool[Tensor, "*batch row column"]:
    """Pixels that are scored: nearest < truth < farthest (metres), inside the crop (rows, then columns).

    Raises:
        DataError: if the crop does not lie within the image.
    """
    mask = (truth > nearest) & (truth < farthest)
    if crop is None:
        return mask
    top, bottom, left, right = crop
    if bottom > truth.shape[-2] or right > truth.shape[-1]:
        raise DataError(
            f"the crop {crop} does not lie within a depth map of {truth.shape[-2]}x{truth.shape[-1]} pixels; "
            "the Eigen crop belongs to 480x640"
        )
    inside = torch.zeros_like(mask)
    inside[..., top:bottom, left:right] = True
    return mask & inside


def depth_scores(
    prediction: Float[Tensor, "batch row column"],
    truth: Float[Tensor, "batch row column"],
    mask: Bool[Tensor, "batch row column"],
) -> Float[Tensor, "batch metric"]:
    """Scores of each image, in the order of `DEPTH_METRICS`; NaN for an image without a valid pixel.

    Args:
        prediction: metres, positive where the mask is set.
        truth: metres.
        mask: pixels to score, see `valid_depth`.
    """
    if prediction.shape != truth.shape or truth.shape != mask.shape:
        raise DataError(
            f"prediction {tuple(prediction.shape)}, truth {tuple(truth.shape)} and mask {tuple(mask.shape)} must "
            "have one shape; resize the prediction to the truth first"
        )
    # Pixels that are not scored get prediction 1 and truth 1: they add nothing to sums, and avoid log(0).
    p = torch.where(mask, prediction.double(), 1.0)
    t = torch.where(mask, truth.double(), 1.0)
    count = mask.flatten(1).sum(1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(mask, values.double(), 0.0).flatten(1).sum(1) / count  # 0 / 0 is NaN

    ratio = torch.maximum(p / t, t / p)
    log = p.log() - t.log()
    spread = (mean(log**2) - mean(log) ** 2).clamp(min=0.0)
    scores = (
        *(mean(ratio < 1.25**power) for power in (1, 2, 3)),
        mean((p - t).abs() / t),
        mean((p - t) ** 2 / t),
        mean((p - t) ** 2).sqrt(),
        mean(log**2).sqrt(),
        mean((p.log10() - t.log10()).abs()),
        100.0 * spread.sqrt(),
    )
    return torch.stack(scores, dim=1)
