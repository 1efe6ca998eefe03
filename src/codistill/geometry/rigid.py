"""Rigid pose from 3-D to 3-D matches under outliers: RANSAC over the closed-form alignment of three points.

Samples are solved and scored in batches until enough were drawn for the best one's share of inliers. The best pose is
refitted to its inliers until they no longer change. Used if both views have metric points, and neither pixels nor
intrinsics are to be used.
"""

import math

import numpy as np
import torch

from codistill.geometry.degeneracy import spread_over
from codistill.geometry.estimate import FloatArray, PoseEstimate, check_matched
from codistill.geometry.procrustes import procrustes
from codistill.geometry.robust import MAX_SAMPLES, PROBABILITY

_BATCH = 500  # samples between stopping tests
_REFITS = 10


def pose_from_point_pairs(
    points_a: FloatArray,
    points_b: FloatArray,
    *,
    threshold: float = 0.1,
    probability: float = PROBABILITY,
    iterations: int = MAX_SAMPLES,
    seed: int = 0,
) -> PoseEstimate | None:
    """Estimate `pose_b_from_a` from matched points in both frames.

    Args:
        points_a, points_b: (match, 3), metres. Rows that are not finite are never inliers.
        threshold: largest distance of an inlier, metres.
        probability: wanted probability that one all-inlier sample was drawn.
        iterations: largest number of samples of three.
        seed: seed of the sampling; the same seed gives the same estimate.

    Returns:
        The estimate, whose confidence is the number of inliers. None with fewer than 3 finite matches or inliers, or
        inliers that do not determine the rotation (copies of one match, or points on a line).

    Raises:
        ValueError: if the arrays do not match.
    """
    count = check_matched("pose_from_point_pairs", points_a=(points_a, 3), points_b=(points_b, 3))
    finite = np.flatnonzero(np.isfinite(points_a).all(1) & np.isfinite(points_b).all(1))
    if len(finite) < 3:
        return None
    a, b = (torch.from_numpy(points[finite].astype(np.float64)) for points in (points_a, points_b))
    rotation, translation = _consensus(a, b, threshold, probability, iterations, seed)
    inliers = (a @ rotation.T + translation - b).norm(dim=-1) < threshold
    for _ in range(_REFITS):
        if int(inliers.sum()) < 3:
            return None
        refit = procrustes(a[inliers], b[inliers])
        again = (refit.apply(a) - b).norm(dim=-1) < threshold
        if int(again.sum()) < int(inliers.sum()):  # the refit is worse: keep the last pose
            break
        rotation, translation = refit.rotation, refit.translation
        if bool((again == inliers).all()):
            break
        inliers = again
    chosen = inliers.numpy()
    if not all(spread_over(points.numpy()[chosen], 2, threshold) for points in (a, b)):
        return None
    mask = np.zeros(count, dtype=bool)
    mask[finite] = inliers.numpy()
    return PoseEstimate(rotation.numpy(), translation.numpy(), mask, float(inliers.sum()))


def _consensus(
    a: torch.Tensor, b: torch.Tensor, threshold: float, probability: float, iterations: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation and translation of the sample with the most inliers."""
    samples = _triples(len(a), iterations, seed)
    most, rotation, translation = -1, torch.eye(3, dtype=a.dtype), torch.zeros(3, dtype=a.dtype)
    needed, drawn = float(iterations), 0
    while drawn < min(needed, iterations):
        sample = samples[drawn : drawn + _BATCH]
        found = procrustes(a[sample], b[sample])  # (sample, 3, 3) and (sample, 3)
        support = torch.cat(
            [
                ((a @ turn.mT + shift[:, None] - b).square().sum(-1) < threshold**2).sum(-1)
                for turn, shift in zip(
                    found.rotation.split(50), found.translation.split(50), strict=True
                )  # (50, match) distances fit in the cache: several times faster
            ]
        )
        drawn, best = drawn + len(sample), int(support.argmax())
        if int(support[best]) > most:
            most, rotation, translation = int(support[best]), found.rotation[best], found.translation[best]
            clean = (most / len(a)) ** 3  # probability that all three of a sample are inliers
            if clean > 0:
                needed = math.log(1.0 - probability) / math.log1p(-min(clean, 1.0 - 1e-12))
    return rotation, translation


def _triples(count: int, iterations: int, seed: int) -> torch.Tensor:
    """Indices (iterations, 3), distinct within a row."""
    draw = np.random.default_rng(seed)
    first, second, third = (draw.integers(count - i, size=iterations) for i in range(3))
    # Shift the later draws past the earlier ones, so that all triples are equally likely.
    second = second + (second >= first)  # of the count - 1 others
    low, high = np.minimum(first, second), np.maximum(first, second)
    third = third + (third >= low)
    third = third + (third >= high)
    return torch.from_numpy(np.stack((first, second, third), axis=1))
