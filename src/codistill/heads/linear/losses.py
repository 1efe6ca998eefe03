"""Losses of linear heads: from scores or depths and ground truth to one scalar; in fp32, without host synchronization.

Source: mmsegmentation 0.x (cross entropy), the Monocular-Depth-Estimation-Toolbox as DINOv2 uses it (SigLoss, after
Eigen et al. 2014, in the square-root form of arXiv 1907.10326).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from codistill.metrics.segmentation import IGNORE

LAMBDA = 0.15
_EPS = 1e-3


def pixel_cross_entropy(
    logits: Float[Tensor, "batch class row column"],
    labels: Int[Tensor, "batch height width"],
    *,
    ignored_count: bool = True,
) -> Tensor:
    """Cross entropy of logits resized to the size of the labels (bilinear, align_corners=False).

    Args:
        logits: at any resolution.
        labels: classes, or `IGNORE`.
        ignored_count: divide by the number of all pixels, including ignored ones (the protocol); False: by the labelled
            ones.
    """
    labels = labels.long()
    logits = interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    losses = cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    if ignored_count:
        return losses.mean()
    return losses.sum() / (labels != IGNORE).sum().clamp(min=1)


def masked_mean(values: Tensor, mask: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Mean of the masked values over all axes or some; 0 if the mask is empty. Values and mask have the same shape."""
    dim = tuple(range(values.ndim)) if dim is None else dim
    count = mask.sum(dim).clamp(min=1)
    return torch.where(mask, values, 0.0).sum(dim) / count


def sig_loss(
    prediction: Float[Tensor, "*shape"],
    truth: Float[Tensor, "*shape"],
    *,
    starting: bool = False,
    dim: tuple[int, ...] | None = None,
) -> Tensor:
    """sqrt(var(g) + 0.15 mean(g)^2), g = log(prediction + 0.001) - log(truth + 0.001), over pixels with truth > 0.

    Args:
        prediction, truth: metres; truth 0 or infinite where unknown.
        starting: leave out the variance (the protocol's first 100 iterations).
        dim: axes to reduce; None: all. The other axes keep separate losses.
    """
    mask = (truth > 0) & torch.isfinite(truth)
    dim = tuple(range(truth.ndim)) if dim is None else dim
    g = torch.log(prediction.float() + _EPS) - torch.log(torch.where(mask, truth.float(), 1.0) + _EPS)
    count = mask.expand_as(g).sum(dim, keepdim=True)  # reduced axes stay, with length 1
    g = torch.where(mask, g, 0.0)
    mean = g.sum(dim, keepdim=True) / count.clamp(min=1)
    value = LAMBDA * mean.square()
    if not starting:
        squares = torch.where(mask, g - mean, 0.0).square().sum(dim, keepdim=True)
        value = value + squares / (count - 1).clamp(min=1)  # unbiased, as torch.var
    # The square root has infinite slope at 0: a batch without known depth would give NaN gradients.
    safe = torch.where(value > 0, value, 1.0).sqrt()
    return torch.where(value > 0, safe, 0.0).sum(dim)


def gradient_loss(
    prediction: Float[Tensor, "batch 1 row column"], truth: Float[Tensor, "batch 1 row column"]
):
    """Central differences of g along rows and columns at four scales, divided by the number of pixels with truth > 0.

    The toolbox's own code differentiates along batch and channel by mistake, which is exactly 0 with two images per
    device. The published numbers were therefore trained without this loss, and it is off by default.
    """
    mask = (truth > 0) & torch.isfinite(truth)
    g = torch.log(prediction.float() + _EPS) - torch.log(torch.where(mask, truth.float(), 1.0) + _EPS)
    g = torch.where(mask, g, 0.0)
    total = g.new_zeros(())
    for stride in (1, 2, 4, 6):
        part, known = g[..., ::stride, ::stride], mask[..., ::stride, ::stride]
        count = known.sum().clamp(min=1)
        down = (part[..., 2:, :] - part[..., :-2, :]).abs() * (known[..., 2:, :] & known[..., :-2, :])
        right = (part[..., 2:] - part[..., :-2]).abs() * (known[..., 2:] & known[..., :-2])
        total = total + (down.sum() + right.sum()) / count
    return total
