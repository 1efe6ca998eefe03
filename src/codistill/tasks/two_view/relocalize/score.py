"""Compute Map-free's scores from relative poses of pairs, also by bin of overlap.

Pairs of the world (and of a folder) are small pictures with their own intrinsics. Their poses are scored on a virtual
camera of 540x720 pixels with a focal length of 590, as those of Map-free's phones, for which "no motion" scores low.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.poses import matrix_to_quaternion
from codistill.metrics.interval import medians
from codistill.metrics.relocalization import (
    MAX_ROTATION,
    MAX_TRANSLATION,
    VCRE_THRESHOLDS,
    frame_errors,
    precision_areas,
)
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import RepeatedOf
from codistill.tasks.task import Column

VIRTUAL_SIZE = (540, 720)
VIRTUAL_INTRINSICS = ((590.0, 0.0, 270.0), (0.0, 590.0, 360.0), (0.0, 0.0, 1.0))
OVERLAP_BINS = ((0.0, 0.4), (0.4, 0.6), (0.6, 1.0))

Errors = Mapping[str, np.ndarray]
"""Per pair: errors in metres, degrees and pixels of the virtual camera, and confidence.

Without an estimate, errors are infinite and the confidence is 0.
"""


def pose_errors(estimate: PoseEstimate | None, truth: np.ndarray) -> dict[str, np.ndarray | float]:
    """Errors of a relative pose, and the pose itself; NaN as pose without an estimate.

    Args:
        estimate: second from first camera, or None.
        truth: (4, 4) second from first camera.
    """
    if estimate is None or not estimate.is_usable(0):
        nothing = dict.fromkeys(("translation", "rotation", "vcre"), np.inf)
        found = np.full((4, 4), np.nan) if estimate is None else estimate.matrix()
        return {**nothing, "confidence": 0.0, "poses": found}
    confidence = torch.tensor([estimate.confidence], dtype=torch.float64)
    intrinsics = torch.tensor([VIRTUAL_INTRINSICS], dtype=torch.float64)
    scored = frame_errors(_seven(estimate.matrix()), _seven(truth), confidence, intrinsics, VIRTUAL_SIZE)
    return {
        "translation": float(scored.translation),
        "rotation": float(scored.rotation),
        "vcre": float(scored.vcre),
        "confidence": float(confidence),
        "poses": estimate.matrix(),
    }


def _seven(pose: np.ndarray) -> torch.Tensor:
    """Convert (4, 4) to (1, 7): quaternion and translation."""
    tensor = torch.from_numpy(np.asarray(pose, dtype=np.float64))[None]
    return torch.cat((matrix_to_quaternion(tensor[:, :3, :3]), tensor[:, :3, 3]), dim=1)


def _share(accepted: np.ndarray, times: np.ndarray) -> np.ndarray:
    return times @ accepted / times.sum(1)


def _auc(accepted: np.ndarray, errors: Errors, times: np.ndarray) -> np.ndarray:
    there = np.isfinite(errors["translation"])
    ranked = (accepted[there], errors["confidence"][there], times[:, there], times.sum(1))
    return precision_areas(*map(torch.from_numpy, ranked)).numpy()


def _within_pose(errors: Errors) -> np.ndarray:
    return (errors["translation"] < MAX_TRANSLATION) & (errors["rotation"] < MAX_ROTATION)


def _column(
    title: str, score: Callable[[Errors, np.ndarray], np.ndarray], *, digits: int = 3, short: bool = False
) -> Column:
    keys = ("translation", "rotation", "vcre", "confidence")
    return Column(
        title=title,
        statistic=RepeatedOf(keys, score),
        digits=digits,
        headline=short,
        higher="median" not in title,
    )


COLUMNS = {
    **{
        f"vcre_{kind}_{limit:g}": _column(
            f"{'precision' if kind == 'precision' else 'AUC'}, {limit:g} px",
            (lambda errors, times, t=limit: _share(errors["vcre"] < t, times))
            if kind == "precision"
            else (lambda errors, times, t=limit: _auc(errors["vcre"] < t, errors, times)),
            short=limit == VCRE_THRESHOLDS[0],
        )
        for limit in VCRE_THRESHOLDS
        for kind in ("precision", "auc")
    },
    "pose_precision": _column("precision, pose", lambda errors, times: _share(_within_pose(errors), times)),
    "pose_auc": _column("AUC, pose", lambda errors, times: _auc(_within_pose(errors), errors, times)),
    "median_vcre": _column(
        "median VCRE (px)", lambda errors, times: medians(errors["vcre"], times), short=True
    ),
    "median_translation": _column(
        "median error (m)", lambda errors, times: medians(errors["translation"], times)
    ),
    "median_rotation": _column("median error (°)", lambda errors, times: medians(errors["rotation"], times)),
    "estimated": _column(
        "estimated", lambda errors, times: _share(np.isfinite(errors["translation"]), times)
    ),
}
"""Scores by name: shares and AUCs in [0, 1], and medians over all pairs in pixels, metres and degrees.

A pair without an estimate counts as an infinite error.
"""


def by_overlap(table: ScoreTable) -> dict[str, ScoreTable]:
    """The pairs in each bin of overlap that is not empty."""
    overlap = table.values["overlap"]
    found = {}
    for low, high in OVERLAP_BINS:
        inside = (overlap >= low) & ((overlap < high) | (high == 1.0))
        if inside.any():
            found[f"{low:g}-{high:g}"] = table.at(np.flatnonzero(inside))
    return found
