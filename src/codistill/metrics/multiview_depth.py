"""Multi-view depth as in the Robust MVD benchmark: relative error, inliers, alignment, source selection.

Takes a predicted and a true depth map (z in metres, 0 unknown), gives percentages. It also fuses the depths that
several pairs give for one key view. Source: Schröppel et al., "A benchmark and a baseline for robust multi-view depth
estimation" (arXiv 2209.06681); fusion as in DUSt3R (arXiv 2312.14132), section 4.4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.errors import ConfigError, unknown_name

Alignment = Literal["none", "median", "inverse_least_squares"]
INLIER_RATIO = 1.03
DEPTH_RANGE = (0.1, 100.0)


@dataclass(frozen=True)
class DepthScores:
    """Percentages over the pixels of known depth.

    Attributes:
        relative: mean of |prediction - truth| / truth, times 100. Lower is better.
        inliers: share whose ratio to the truth is within 3 %, times 100. Higher is better.
    """

    relative: float
    inliers: float


def depth_scores(
    prediction: Float[Tensor, "row column"],
    truth: Float[Tensor, "other_row other_column"],
    *,
    alignment: Alignment = "median",
    clip: tuple[float, float] | None = DEPTH_RANGE,
) -> DepthScores:
    """Score one depth map: resize to the truth, align, clip, compare.

    Args:
        prediction: metres, or any unit that the alignment removes; 0 where nothing is predicted, which counts as an
            outlier.
        truth: metres, 0 where unknown.
        alignment: see `align_depth`.
        clip: smallest and largest aligned depth; None does not clip.

    Returns:
        NaN for a truth without any known pixel.
    """
    prediction = resize_nearest(prediction.double(), truth.shape)
    truth = truth.double()
    predicted = prediction != 0
    prediction = align_depth(prediction, truth, alignment)
    if clip is not None:
        prediction = prediction.clamp(*clip) * predicted
    known = truth > 0
    pred, true = prediction[known], truth[known]  # (pixel,) each
    relative = ((pred - true).abs() / true).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    ratio = torch.maximum(true / pred, pred / true)
    ratio = torch.where(pred == 0, INLIER_RATIO + 1.0, ratio)  # no prediction: an outlier
    return DepthScores(
        relative=float(100 * relative.mean()), inliers=float(100 * (ratio < INLIER_RATIO).double().mean())
    )


def align_depth(
    prediction: Float[Tensor, "row column"], truth: Float[Tensor, "row column"], alignment: Alignment
) -> Float[Tensor, "row column"]:
    """Remove a method's unknown scale (and shift), using the ground truth.

    Args:
        prediction, truth: maps of equal size.
        alignment: `none`; `median`: multiply by the ratio of the medians over known pixels; `inverse_least_squares`:
            the scale and shift of 1 / depth that fit best. Fitted inverse depths below zero become infinite depth.

    Raises:
        ConfigError: for an unknown alignment.
    """
    if alignment == "none":
        return prediction
    known = truth > 0
    if alignment == "median":
        return prediction * median(truth[known]) / median(prediction[known])
    if alignment == "inverse_least_squares":
        usable = known & (prediction > 0)
        inverse = 1.0 / prediction[usable]
        columns = torch.stack((inverse, torch.ones_like(inverse)), dim=1)  # (pixel, 2)
        scale, shift = torch.linalg.lstsq(columns, 1.0 / truth[usable, None]).solution[:, 0]
        fitted = 1.0 / (scale / prediction + shift)
        return torch.where(fitted > 0, fitted, torch.inf)
    raise ConfigError(unknown_name("alignment", alignment, ("none", "median", "inverse_least_squares")))


def resize_nearest(
    values: Float[Tensor, "row column"], size: Sequence[int]
) -> Float[Tensor, "new_row new_column"]:
    """Resize by nearest neighbour at pixel centres, without smoothing, so that depths never mix."""
    if tuple(values.shape) == tuple(size):
        return values
    return interpolate(values[None, None], size=tuple(size), mode="nearest-exact")[0, 0]


def fuse_depths(
    depths: Float[Tensor, "pair row column"], confidences: Float[Tensor, "pair row column"]
) -> Float[Tensor, "row column"]:
    """Fuse the depth maps that several pairs give for one key view.

    Each map is scaled to the first one with a prediction, by the ratio of their medians. The result is the mean per
    pixel, weighted by confidence. Pixels that a pair does not predict (not above 0, or not finite) have no weight. The
    result is 0 where no pair predicts.
    """
    predicted = torch.isfinite(depths) & (depths > 0)
    scaled = torch.zeros_like(depths)
    medians = [median(depth[mask]) for depth, mask in zip(depths, predicted, strict=True)]  # (pair,)
    reference = next((value for value in medians if bool(value.isfinite())), None)
    for index, mask in enumerate(predicted):
        if reference is not None and bool(mask.any()):
            scaled[index][mask] = depths[index][mask] * (reference / medians[index])
    weights = torch.where(predicted, confidences, 0.0)  # (pair, row, column)
    total = weights.sum(0)
    return torch.where(total > 0, (weights * scaled).sum(0) / total.clamp(min=1e-30), 0.0)


def best_growing_set(
    order: Sequence[int], predict: Callable[[tuple[int, ...]], DepthScores]
) -> tuple[DepthScores, tuple[int, ...]]:
    """The best score over the first one, two, ... sources of an order, and the sources that gave it.

    Of equally good sets the smallest is taken. In the benchmark's `quasi-optimal` order, sources are sorted by the
    relative error of each alone. The choice uses the ground truth: it measures the method with good sources, not the
    selection of sources.

    Args:
        order: numbers of the sources in the order in which they are added.
        predict: scores the key view's depth from a set of sources.
    """
    if not order:
        raise ValueError("a key view needs at least one source view")
    sets = [tuple(order[:size]) for size in range(1, len(order) + 1)]
    scores = [predict(sources) for sources in sets]
    best = min(range(len(sets)), key=lambda n: scores[n].relative)
    return scores[best], sets[best]


def median(values: Float[Tensor, " value"]) -> Tensor:
    """Median of any number of values, with the two middle ones averaged; NaN if there are none."""
    if len(values) == 0:
        return values.new_tensor(torch.nan)
    ordered = values.sort().values
    return 0.5 * (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2])
