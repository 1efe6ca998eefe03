"""Semantic segmentation scores: counts per image from predicted and true classes per pixel, and scores from their sums.

Pixels labelled `IGNORE` are not counted. Counts are (3, class): intersection, predicted, labelled. They add up over
images, so a data set's score is the score of its summed counts. Source: the evaluation of mmsegmentation 0.x (mIoU,
aAcc, mAcc).
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from codistill.errors import DataError

IGNORE = 255
"""Label of pixels that are not scored."""

INTERSECTION, PREDICTED, LABELLED = 0, 1, 2
"""Rows of the counts."""


def class_counts(
    prediction: Int[Tensor, "*shape"], label: Int[Tensor, "*shape"], num_classes: int
) -> Int[Tensor, "3 class"]:
    """Pixels per class of one image, or of a whole batch: intersection, predicted, labelled.

    Args:
        prediction: classes, 0 to num_classes - 1.
        label: the same, or `IGNORE`.
        num_classes: number of classes.

    Raises:
        DataError: if the shapes differ.
    """
    if prediction.shape != label.shape:
        raise DataError(
            f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in shape; resize the "
            "prediction to the label first"
        )
    prediction, label = prediction.long(), label.long()
    # One more bin counts the ignored pixels, so that no shape depends on their number (this would need a host sync).
    seen = label != IGNORE
    where = torch.full_like(label, num_classes)
    hit = torch.where(seen & (prediction == label), label, where)
    rows = (hit, torch.where(seen, prediction, where), torch.where(seen, label, where))
    return torch.stack([torch.bincount(row.flatten(), minlength=num_classes + 1)[:-1] for row in rows])


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union in per cent, (..., class) from (..., 3, class); NaN for a class that never occurs."""
    hits, predicted, labelled = (np.asarray(counts, dtype=np.float64)[..., row, :] for row in range(3))
    return _percent(hits, predicted + labelled - hits)


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of each class's pixels that were found, per cent, (..., class) from (..., 3, class); NaN if it has none."""
    counts = np.asarray(counts, dtype=np.float64)
    return _percent(counts[..., INTERSECTION, :], counts[..., LABELLED, :])


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """mIoU in per cent, (...) from (..., 3, class): the mean over classes that occur in prediction or label."""
    return _mean_of_numbers(class_iou(counts))


def mean_accuracy(counts: np.ndarray) -> np.ndarray:
    """mAcc in per cent, (...) from (..., 3, class): the mean over classes that occur in the labels."""
    return _mean_of_numbers(class_accuracy(counts))


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """aAcc in per cent, (...) from (..., 3, class): the share of labelled pixels with the correct class."""
    sums = np.asarray(counts, dtype=np.float64).sum(-1)
    return _percent(sums[..., INTERSECTION], sums[..., LABELLED])


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100.0 * np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _mean_of_numbers(values: np.ndarray) -> np.ndarray:
    there = ~np.isnan(values)
    count = there.sum(-1)
    total = np.where(there, values, 0.0).sum(-1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
