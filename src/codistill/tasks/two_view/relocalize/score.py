"""Relative poses of pairs to Map-free's scores, by bin of overlap, with intervals.

The pairs of the world (and of a folder) are small pictures with their own intrinsics: their poses are scored on a
virtual camera of 540x720 pixels with a focal length of 590, as Map-free's phones have, where "no motion" is not
already right for many of them. Groups of pairs (rooms, scenes) are the unit of resampling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codistill.errors import DataError
from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.poses import matrix_to_quaternion
from codistill.metrics.interval import RESAMPLES, Interval, bootstrap_rows
from codistill.metrics.relocalization import (
    MAX_ROTATION,
    MAX_TRANSLATION,
    VCRE_THRESHOLDS,
    frame_errors,
    precision_auc,
)
from codistill.tasks.shared.groups import Groups

VIRTUAL_SIZE = (540, 720)
VIRTUAL_INTRINSICS = ((590.0, 0.0, 270.0), (0.0, 590.0, 360.0), (0.0, 0.0, 1.0))
OVERLAP_BINS = ((0.0, 0.4), (0.4, 0.6), (0.6, 1.0))


@dataclass(frozen=True)
class PairErrors:
    """Errors of every pair, in order; infinite, with confidence 0, where there is no estimate.

    Attributes:
        names: of the pairs. groups: which of them belong together. overlap: of each, NaN where unknown.
        translation: metres. rotation: degrees. vcre: pixels of the virtual camera.
        confidence: of the estimates, higher is better.
    """

    names: tuple[str, ...]
    groups: Groups
    overlap: np.ndarray
    translation: np.ndarray
    rotation: np.ndarray
    vcre: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def select(self, mask: np.ndarray) -> "PairErrors":
        """Some of the pairs."""
        names = tuple(name for name, chosen in zip(self.names, mask, strict=True) if chosen)
        return PairErrors(
            names,
            self.groups.at(np.flatnonzero(mask).tolist()),
            self.overlap[mask],
            self.translation[mask],
            self.rotation[mask],
            self.vcre[mask],
            self.confidence[mask],
        )


def pair_errors(
    names: tuple[str, ...],
    overlap: np.ndarray,
    estimates: list[PoseEstimate | None],
    truth: np.ndarray,
    groups: Groups,
) -> PairErrors:
    """Errors of estimated relative poses.

    Args:
        names, overlap: of the pairs.
        estimates: second from first camera, or None.
        truth: (pair, 4, 4) second from first camera.
        groups: of the pairs.

    Raises:
        DataError: without any pair.
    """
    if not names:
        raise DataError("there are no pairs to score")
    there = {index: e for index, e in enumerate(estimates) if e is not None and e.is_usable(0)}
    where = list(there)
    translation, rotation, vcre = (np.full(len(names), np.inf) for _ in range(3))
    confidence = np.zeros(len(names))
    if where:
        found = np.stack([estimate.matrix() for estimate in there.values()])
        confidence[where] = [estimate.confidence for estimate in there.values()]
        scored = frame_errors(
            _seven(found),
            _seven(truth[where]),
            torch.from_numpy(confidence[where]),
            torch.tensor(VIRTUAL_INTRINSICS, dtype=torch.float64).expand(len(where), 3, 3),
            VIRTUAL_SIZE,
        )
        translation[where], rotation[where] = scored.translation.numpy(), scored.rotation.numpy()
        vcre[where] = scored.vcre.numpy()
    return PairErrors(names, groups, overlap, translation, rotation, vcre, confidence)


def _seven(poses: np.ndarray) -> torch.Tensor:
    """(pair, 4, 4) as (pair, 7): quaternion and translation."""
    tensor = torch.from_numpy(np.asarray(poses, dtype=np.float64))
    return torch.cat((matrix_to_quaternion(tensor[:, :3, :3]), tensor[:, :3, 3]), dim=1)


Score = Callable[[PairErrors], float]


def _precision(accepted: np.ndarray) -> float:
    return float(accepted.mean())


def _auc(accepted: np.ndarray, errors: PairErrors) -> float:
    there = np.isfinite(errors.translation)
    return precision_auc(
        torch.from_numpy(accepted[there]), torch.from_numpy(errors.confidence[there]), len(errors)
    )


def _within_pose(errors: PairErrors) -> np.ndarray:
    return (errors.translation < MAX_TRANSLATION) & (errors.rotation < MAX_ROTATION)


SCORES: dict[str, Score] = {
    **{
        f"vcre_{kind}_{limit:g}": (
            (lambda errors, t=limit: _precision(errors.vcre < t))
            if kind == "precision"
            else (lambda errors, t=limit: _auc(errors.vcre < t, errors))
        )
        for limit in VCRE_THRESHOLDS
        for kind in ("precision", "auc")
    },
    "pose_precision": lambda errors: _precision(_within_pose(errors)),
    "pose_auc": lambda errors: _auc(_within_pose(errors), errors),
    "median_vcre": lambda errors: float(np.median(errors.vcre)),
    "median_translation": lambda errors: float(np.median(errors.translation)),
    "median_rotation": lambda errors: float(np.median(errors.rotation)),
    "estimated": lambda errors: _precision(np.isfinite(errors.translation)),
}
"""Shares, AUCs (both in [0, 1]) and medians over all pairs: pixels, metres, degrees; no estimate counts as infinite."""


def intervals(errors: PairErrors, *, seed: int = 0, resamples: int = RESAMPLES // 2) -> dict[str, Interval]:
    """Every score with a percentile-bootstrap 95 % interval; groups of pairs are resampled."""
    arrays = (errors.overlap, errors.translation, errors.rotation, errors.vcre, errors.confidence)
    values: dict[str, list[float]] = {name: [] for name in SCORES}
    nobody = Groups((), "")
    for rows in bootstrap_rows(len(errors), errors.groups.names, seed=seed, resamples=resamples):
        drawn = PairErrors(("",) * len(rows), nobody, *(array[rows] for array in arrays))
        for name, score in SCORES.items():
            values[name].append(score(drawn))
    found, groups = {}, errors.groups.count
    for name, score in SCORES.items():
        low, high = np.percentile(values[name], [2.5, 97.5], method="nearest")  # medians may be infinite
        limits = (float(low), float(high)) if groups > 1 else (None, None)
        found[name] = Interval(score(errors), *limits, len(errors), groups)
    return found


def by_overlap(errors: PairErrors) -> dict[str, dict[str, Interval]]:
    """Scores with intervals in every bin of overlap that has pairs."""
    found = {}
    for low, high in OVERLAP_BINS:
        inside = (errors.overlap >= low) & ((errors.overlap < high) | (high == 1.0))
        if inside.any():
            found[f"{low:g}-{high:g}"] = intervals(errors.select(inside))
    return found


def plain(scores: dict[str, Interval]) -> dict[str, dict[str, Any]]:
    """For a metrics file: mean, low, high, count, groups; null where a median is infinite, or a limit unknown."""
    return {
        name: {
            "mean": _finite(interval.mean),
            "low": _finite(interval.low),
            "high": _finite(interval.high),
            "count": interval.count,
            "groups": interval.groups,
        }
        for name, interval in scores.items()
    }


def _finite(value: float | None) -> float | None:
    return round(value, 6) if value is not None and np.isfinite(value) else None
