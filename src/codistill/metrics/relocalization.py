"""Map-free relocalization: per-frame errors of a query's pose, and their aggregation in the benchmark.

Takes estimated and true world-to-camera poses; gives metres, degrees, pixels, precisions and areas under the precision
curve. The numbers reproduce the published benchmark; its peculiarities are named where they matter.
Source: Arnold et al., "Map-free visual relocalization" (arXiv 2210.05494).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.geometry.poses import (
    compose_poses,
    invert_pose,
    pose_matrix,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_matrix,
    transform_points,
)
from codistill.geometry.projection import project

MAX_TRANSLATION = 0.25
MAX_ROTATION = 5.0
VCRE_THRESHOLDS = (90.0, 45.0)
"""Pixels: the published code has only 90; 45 is the leaderboard's second column."""


@dataclass(frozen=True)
class FrameErrors:
    """Errors of frames with an estimate.

    Attributes:
        translation: (frame,), metres between the camera centres.
        rotation: (frame,), degrees.
        vcre: (frame,), pixels: virtual correspondence reprojection error.
        confidence: (frame,), as submitted; higher is better.
    """

    translation: Float[Tensor, " frame"]
    rotation: Float[Tensor, " frame"]
    vcre: Float[Tensor, " frame"]
    confidence: Float[Tensor, " frame"]

    def __len__(self) -> int:
        return len(self.translation)


@dataclass(frozen=True)
class SceneErrors:
    """One scene: the errors of its estimated frames, and how many frames have no estimate."""

    name: str
    errors: FrameErrors
    failures: int


@dataclass(frozen=True, kw_only=True)
class RelocalizationScores:
    """The benchmark's scores over all scenes.

    Attributes:
        median_translation, median_rotation, median_vcre: per-scene medians (metres, degrees, pixels), averaged over
            the scenes that have an estimate; NaN if none has.
        pose_precision: share of all frames within 25 cm and 5 degrees.
        pose_auc: area under the precision curve when frames are dropped by confidence.
        vcre_precision, vcre_auc: the same for a VCRE below each threshold in pixels.
        estimated: share of all frames that have an estimate.
        frames: number of frames, with and without an estimate.
    """

    median_translation: float
    median_rotation: float
    median_vcre: float
    pose_precision: float
    pose_auc: float
    vcre_precision: dict[float, float]
    vcre_auc: dict[float, float]
    estimated: float
    frames: int

    def as_published(self, threshold: float = 90.0) -> dict[str, float]:
        """The numbers under the benchmark's own names, for one VCRE threshold."""
        pixels = f"VCRE < {threshold:g}px"
        pose = f"Pose Error < ({100 * MAX_TRANSLATION}cm, {MAX_ROTATION:g}deg)"
        return {
            "Average Median Translation Error": self.median_translation,
            "Average Median Rotation Error": self.median_rotation,
            "Average Median Reprojection Error": self.median_vcre,
            f"Precision @ {pose}": self.pose_precision,
            f"AUC @ {pose}": self.pose_auc,
            f"Precision @ {pixels}": self.vcre_precision[threshold],
            f"AUC @ {pixels}": self.vcre_auc[threshold],
            "Estimates for % of frames": self.estimated,
        }


def virtual_points(dtype: torch.dtype = torch.float64) -> Float[Tensor, "196 3"]:
    """The benchmark's grid in front of a camera, metres: 7 columns, 4 rows, 7 depths from 1.8 to 3.6."""
    x = 0.3 * torch.arange(-3, 4, dtype=dtype)
    y = 0.3 * torch.arange(4, dtype=dtype) - 0.45
    z = 1.8 + 0.3 * torch.arange(7, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, z, indexing="ij"), dim=-1).reshape(-1, 3)


def virtual_reprojection_error(
    estimate: Float[Tensor, "frame 4 4"],
    truth: Float[Tensor, "frame 4 4"],
    intrinsics: Float[Tensor, "frame 3 3"],
    size: tuple[int, int],
) -> Float[Tensor, " frame"]:
    """Mean pixel distance between the virtual points seen from the estimated and from the true pose.

    As in the benchmark, projections are clamped to the image, which bounds the error. Points behind the camera are
    projected mirrored, so that an error of half a turn scores better than one of 20 degrees.

    Args:
        estimate, truth: world-to-camera poses.
        intrinsics: intrinsics of each frame.
        size: (width, height) in pixels.
    """
    points = virtual_points(truth.dtype).to(truth.device).expand(len(truth), -1, 3)
    moved = transform_points(compose_poses(estimate, invert_pose(truth)), points)  # (frame, 196, 3)
    limit = torch.tensor(size, dtype=truth.dtype, device=truth.device)
    seen, expected = (torch.minimum(project(x, intrinsics).clamp(min=0.0), limit) for x in (moved, points))
    return (seen - expected).norm(dim=-1).mean(-1)


def frame_errors(
    estimate: Float[Tensor, "frame 7"],
    truth: Float[Tensor, "frame 7"],
    confidence: Float[Tensor, " frame"],
    intrinsics: Float[Tensor, "frame 3 3"],
    size: tuple[int, int],
) -> FrameErrors:
    """Errors of each frame.

    Args:
        estimate, truth: (frame, 7): world-to-camera qw qx qy qz tx ty tz; quaternions of any norm but zero.
        confidence: (frame,).
        intrinsics: (frame, 3, 3).
        size: (width, height) in pixels.
    """
    poses = [pose_matrix(quaternion_to_matrix(pose[:, :4]), pose[:, 4:]) for pose in (estimate, truth)]
    centers = [invert_pose(pose)[:, :3, 3] for pose in poses]
    unit = [pose[:, :4] / pose[:, :4].norm(dim=1, keepdim=True) for pose in (estimate, truth)]
    turn = quaternion_multiply(unit[1], quaternion_conjugate(unit[0]))  # (frame, 4)
    half = turn[:, 1:].norm(dim=1).clamp(max=1.0).asin()  # half the angle
    return FrameErrors(
        translation=(centers[0] - centers[1]).norm(dim=1),
        rotation=2.0 * torch.rad2deg(half),
        vcre=virtual_reprojection_error(poses[0], poses[1], intrinsics, size),
        confidence=confidence,
    )


def precision_auc(accepted: Bool[Tensor, " frame"], confidence: Float[Tensor, " frame"], total: int) -> float:
    """Area under precision over the share of frames kept, when frames are kept in order of decreasing confidence.

    Frames of equal confidence are added together. "Recall" here is the share of all frames, correct or wrong: a perfect
    ranking with a share p of correct frames gives p (1 - ln p), a constant confidence gives p.

    Args:
        accepted: whether each estimate is correct.
        confidence: confidence of each estimate.
        total: number of frames, including those without an estimate.
    """
    if total == 0:
        return math.nan
    times = torch.ones(1, len(accepted), dtype=torch.int64, device=accepted.device)
    return float(precision_areas(accepted, confidence, times, times.new_tensor([total])))


def precision_areas(
    accepted: Bool[Tensor, " frame"],
    confidence: Float[Tensor, " frame"],
    times: Int[Tensor, "resample frame"],
    total: Int[Tensor, " resample"],
) -> Float[Tensor, " resample"]:
    """`precision_auc` of resamples in which frames are repeated.

    Args:
        accepted, confidence: of each estimate.
        times: how many times each estimate is in each resample.
        total: number of frames of each resample, including those without an estimate; above 0.
    """
    order = confidence.argsort(descending=True, stable=True)
    ranked = confidence[order]
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]  # ends of runs of equal confidence
    kept = times[:, order].double().cumsum(1)  # among the first n
    correct = (times[:, order] * accepted[order]).double().cumsum(1)[:, last]
    kept = kept[:, last]  # one value per distinct confidence
    precision = torch.where(kept > 0, correct / kept, 0.0)
    share = (kept / total[:, None]).float()  # fp32, as in the benchmark: visible in the 8th digit
    steps = torch.diff(share, prepend=share.new_zeros(len(share), 1))
    return (precision * steps).sum(1)


def aggregate(
    scenes: Sequence[SceneErrors], thresholds: Sequence[float] = VCRE_THRESHOLDS
) -> RelocalizationScores:
    """The benchmark's scores: medians averaged over scenes, precisions and areas over all frames pooled.

    Args:
        scenes: errors of every scene; at least one.
        thresholds: thresholds on the VCRE, pixels.
    """
    every = [scene.errors for scene in scenes]
    pooled = FrameErrors(
        *(
            torch.cat([getattr(errors, name) for errors in every]) if every else torch.zeros(0)
            for name in ("translation", "rotation", "vcre", "confidence")
        )
    )
    total = len(pooled) + sum(scene.failures for scene in scenes)
    accepted = (pooled.translation < MAX_TRANSLATION) & (pooled.rotation < MAX_ROTATION)
    below = {threshold: pooled.vcre < threshold for threshold in thresholds}
    return RelocalizationScores(
        median_translation=_mean_of_medians([errors.translation for errors in every]),
        median_rotation=_mean_of_medians([errors.rotation for errors in every]),
        median_vcre=_mean_of_medians([errors.vcre for errors in every]),
        pose_precision=_share(accepted, total),
        pose_auc=precision_auc(accepted, pooled.confidence, total),
        vcre_precision={threshold: _share(mask, total) for threshold, mask in below.items()},
        vcre_auc={t: precision_auc(mask, pooled.confidence, total) for t, mask in below.items()},
        estimated=len(pooled) / total if total else math.nan,
        frames=total,
    )


def _share(mask: Tensor, total: int) -> float:
    return int(mask.sum()) / total if total else math.nan


def _mean_of_medians(values: Sequence[Tensor]) -> float:
    """Mean of the medians of the tensors that are not empty; as in NumPy, the two middle values are averaged."""
    medians = [float(value.quantile(0.5)) for value in values if len(value)]
    return sum(medians) / len(medians) if medians else math.nan
