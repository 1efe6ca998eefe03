"""Rigid pose from 3-D to 3-D matches under outliers: RANSAC over the closed-form alignment of three points.

All hypotheses are solved and scored in a few batched operations; the best one is refitted to its inliers until they
no longer change. Used where both views have metric points and neither pixels nor intrinsics are wanted.
"""

from collections.abc import Iterator

import numpy as np
import torch

from codistill.geometry.estimate import FloatArray, PoseEstimate, check_matched
from codistill.geometry.procrustes import procrustes

_CHUNK = 2_000_000  # distances held at once
_REFITS = 10


def pose_from_point_pairs(
    points_a: FloatArray,
    points_b: FloatArray,
    *,
    threshold: float = 0.1,
    iterations: int = 1000,
    seed: int = 0,
) -> PoseEstimate | None:
    """`pose_b_from_a` from matched points in both frames.

    Args:
        points_a, points_b: (match, 3), metres. Rows that are not finite are never inliers.
        threshold: largest distance of an inlier, metres.
        iterations: samples of three. At 70 % outliers, 1000 samples hold about 27 clean ones.
        seed: of the sampling; the same seed gives the same estimate.

    Returns:
        The estimate, its confidence the number of inliers; None with fewer than 3 finite matches or inliers.

    Raises:
        ValueError: if the arrays do not match.
    """
    count = check_matched("pose_from_point_pairs", points_a=(points_a, 3), points_b=(points_b, 3))
    finite = np.flatnonzero(np.isfinite(points_a).all(1) & np.isfinite(points_b).all(1))
    if len(finite) < 3:
        return None
    a, b = (torch.from_numpy(points[finite].astype(np.float64)) for points in (points_a, points_b))
    sample = _triples(len(finite), iterations, seed)
    hypotheses = procrustes(a[sample], b[sample])
    support = torch.cat(
        [
            ((rotated + shift[:, None] - b).norm(dim=-1) < threshold).sum(-1)
            for rotated, shift in _moved(a, hypotheses.rotation, hypotheses.translation)
        ]
    )
    best = int(support.argmax())
    rotation, translation = hypotheses.rotation[best], hypotheses.translation[best]
    inliers = (a @ rotation.T + translation - b).norm(dim=-1) < threshold
    for _ in range(_REFITS):
        if int(inliers.sum()) < 3:
            return None
        refit = procrustes(a[inliers], b[inliers])
        again = (refit.apply(a) - b).norm(dim=-1) < threshold
        if int(again.sum()) < int(inliers.sum()):
            break
        rotation, translation = refit.rotation, refit.translation
        if bool((again == inliers).all()):
            break
        inliers = again
    mask = np.zeros(count, dtype=bool)
    mask[finite] = inliers.numpy()
    return PoseEstimate(rotation.numpy(), translation.numpy(), mask, float(inliers.sum()))


def _triples(count: int, iterations: int, seed: int) -> torch.Tensor:
    """(iterations, 3) indices, distinct within a row."""
    draw = np.random.default_rng(seed)
    first, second, third = (draw.integers(count - i, size=iterations) for i in range(3))
    # Shift the later draws past the earlier ones, so that all triples are equally likely.
    second = second + (second >= first)
    low, high = np.minimum(first, second), np.maximum(first, second)
    third = third + (third >= low)
    third = third + (third >= high)
    return torch.from_numpy(np.stack((first, second, third), axis=1))


def _moved(
    points: torch.Tensor, rotations: torch.Tensor, translations: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Points under chunks of the rotations, with the translations of the same chunk."""
    size = max(1, _CHUNK // len(points))
    for start in range(0, len(rotations), size):
        part = slice(start, start + size)
        yield torch.einsum("hij,nj->hni", rotations[part], points), translations[part]
