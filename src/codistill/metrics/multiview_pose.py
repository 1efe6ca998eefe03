"""Relative camera poses within a set of views: RRA, RTA and mAA as in PoseDiffusion and DUSt3R.

Takes estimated and true world-to-camera poses. Every pair i < j is scored by its relative pose, so that neither the
world frame nor the scale matters. Source: Wang et al., PoseDiffusion (arXiv 2306.15667), section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.poses import relative_pose, rotation_angle

MAX_ANGLE = 30
_NO_ANSWER = 1e6


@dataclass(frozen=True)
class PairErrors:
    """Errors of pairs of views, degrees.

    Attributes:
        rotation: (pair,), in [0, 180].
        translation: (pair,), angle between the directions without sign, in [0, 90]; huge without an estimate.
    """

    rotation: Float[Tensor, " pair"]
    translation: Float[Tensor, " pair"]


@dataclass(frozen=True, kw_only=True)
class MultiViewPoseScores:
    """Percentages over pairs.

    Attributes:
        rra: by threshold in degrees: share of pairs whose rotation error is below it.
        rta: the same for the direction of the translation.
        maa: mean over 1 … 30 degrees of the share of pairs whose larger error is below (also called AUC@30).
        pairs: number of pairs.
    """

    rra: dict[int, float]
    rta: dict[int, float]
    maa: float
    pairs: int


def pair_errors(estimate: Float[Tensor, "view 4 4"], truth: Float[Tensor, "view 4 4"]) -> PairErrors:
    """Errors of all pairs i < j.

    Args:
        estimate, truth: world-to-camera poses, in any two world frames. A view without an estimate is NaN; its pairs
            count as wrong.
    """
    first, second = torch.triu_indices(len(truth), len(truth), offset=1, device=truth.device)  # i < j
    found = relative_pose(estimate[first], estimate[second]).double()
    expected = relative_pose(truth[first], truth[second]).double()
    between = found[:, :3, :3] @ expected[:, :3, :3].transpose(1, 2)  # (pair, 3, 3)
    rotation = torch.rad2deg(rotation_angle(between)).nan_to_num(nan=_NO_ANSWER)
    return PairErrors(rotation, direction_error(found[:, :3, 3], expected[:, :3, 3]))


def direction_error(
    estimate: Float[Tensor, "pair 3"], truth: Float[Tensor, "pair 3"]
) -> Float[Tensor, " pair"]:
    """Angle between two lines, degrees in [0, 90]; 90 if either direction has length 0, huge if it is not finite."""
    estimate, truth = (t / (t.norm(dim=-1, keepdim=True) + 1e-15) for t in (estimate, truth))
    sine_squared = (1.0 - (estimate * truth).sum(-1) ** 2).clamp(min=1e-15)  # published form
    angle = torch.acos((1.0 - sine_squared).clamp(min=0.0).sqrt())
    return torch.rad2deg(angle.nan_to_num(nan=_NO_ANSWER, posinf=_NO_ANSWER, neginf=_NO_ANSWER))


def pose_scores(errors: Sequence[PairErrors], thresholds: Sequence[int] = (5, 15, 30)) -> MultiViewPoseScores:
    """Scores over the pairs of several sets of views, pooled (a category, or all of RealEstate10K).

    Args:
        errors: one entry per set of views.
        thresholds: degrees.
    """
    rotation, translation = (
        np.concatenate([getattr(error, name).cpu().numpy() for error in errors])
        for name in ("rotation", "translation")
    )
    return MultiViewPoseScores(
        rra={limit: 100.0 * float((rotation < limit).mean()) for limit in thresholds},
        rta={limit: 100.0 * float((translation < limit).mean()) for limit in thresholds},
        maa=100.0 * mean_average_accuracy(rotation, translation),
        pairs=len(rotation),
    )


def mean_average_accuracy(rotation: np.ndarray, translation: np.ndarray, max_angle: int = MAX_ANGLE) -> float:
    """Mean of the cumulative histogram of the larger error over one-degree bins up to `max_angle`, in [0, 1].

    Errors (pair,) are in degrees. The last bin includes its upper edge. Published numbers use this NumPy version; a
    PyTorch version has other bins.
    """
    worst = np.maximum(rotation, translation)  # (pair,)
    counts, _ = np.histogram(worst, bins=np.arange(max_angle + 1))
    return float(np.mean(np.cumsum(counts / len(worst))))
