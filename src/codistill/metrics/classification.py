"""Classification scores: hits per image from class scores and true classes, and their mean over images or classes."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.errors import DataError


def hits_at(
    scores: Float[Tensor, "image class"], labels: Int[Tensor, " image"], ranks: Sequence[int] = (1, 5)
) -> Bool[Tensor, "image rank"]:
    """Whether the true class is among the k best, for each k in `ranks`.

    Ties count against the true class: it must have fewer than k other classes with an equal or higher score. So rows of
    equal scores never score better than chance.

    Raises:
        DataError: if the shapes do not fit.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise DataError(
            f"scores must be (image, class) and labels (image,); got {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    true = scores.gather(1, labels.long()[:, None])
    others = scores.shape[1] - 1
    above = others - (scores < true).sum(1)  # NaN is never a hit
    return torch.stack([above < rank for rank in ranks], dim=1)


def mean_per_class(values: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the mean over the images of a class, for values (image,) such as top-1 hits."""
    values, labels = np.asarray(values, dtype=np.float64), np.asarray(labels)
    if values.shape != labels.shape or values.size == 0:
        raise DataError(f"one value per image is needed; got {values.shape} values and {labels.shape} labels")
    totals, counts = np.bincount(labels, weights=values), np.bincount(labels)
    return float((totals[counts > 0] / counts[counts > 0]).mean())
