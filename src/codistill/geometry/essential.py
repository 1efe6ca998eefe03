"""Relative pose from pixel matches (essential matrix, MAGSAC++), and its scale from metric points.

The essential matrix gives the rotation and the direction of the translation. The length comes from the metric depth at
the inliers, by the vote of the Map-free baselines: each inlier proposes a length, and the proposal with most neighbours
within 10 cm wins. Sources: MAGSAC++ (arXiv 1912.05909), map-free relocalization (arXiv 2210.05494).
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from codistill.geometry.degeneracy import determined, spread_over
from codistill.geometry.estimate import FloatArray, PoseEstimate, check_matched
from codistill.geometry.refine import refine_relative_pose, sampson_distance, sampson_jacobian
from codistill.geometry.robust import MAX_SAMPLES, PROBABILITY
from codistill.geometry.usac import usac

_MIN_MATCHES = 5
_LEAST_IN_FRONT = 0.5
"""Smallest share of the consensus in front of both cameras; below it, the matches contradict their essential matrix."""


def pose_from_matches(
    pixels_a: FloatArray,
    pixels_b: FloatArray,
    intrinsics_a: FloatArray,
    intrinsics_b: FloatArray,
    *,
    threshold: float = 2.0,
    probability: float = PROBABILITY,
    iterations: int = MAX_SAMPLES,
    refine: bool = True,
    seed: int = 0,
) -> PoseEstimate | None:
    """Estimate `pose_b_from_a` from matches, with a translation of length 1.

    Args:
        pixels_a, pixels_b: (match, 2), (x, y).
        intrinsics_a, intrinsics_b: (3, 3).
        threshold: inlier threshold, pixels at the mean focal length of both cameras.
        probability: wanted probability that one all-inlier sample was drawn.
        iterations: largest number of samples.
        refine: minimize the Sampson distance over the inliers afterwards, which leaves about a tenth of the error under
            outliers; False as in the Map-free baselines. Inliers and confidence are the same.
        seed: seed of the sampling; the same seed gives the same estimate.

    Returns:
        The estimate, whose confidence is the number of inliers in front of both cameras. None with fewer than 5 finite
        matches, no consensus, most of the consensus behind a camera, or inliers that do not determine the rotation
        (copies of one match, points on a line). For a camera that only rotates, the direction is arbitrary.

    Raises:
        ValueError: if the arrays do not match.
    """
    count = check_matched("pose_from_matches", pixels_a=(pixels_a, 2), pixels_b=(pixels_b, 2))
    finite = np.flatnonzero(np.isfinite(pixels_a).all(1) & np.isfinite(pixels_b).all(1))
    if len(finite) < _MIN_MATCHES:
        return None
    a, b = (
        _normalized(pixels[finite], intrinsics)
        for pixels, intrinsics in ((pixels_a, intrinsics_a), (pixels_b, intrinsics_b))
    )
    focal = np.mean([k[i, i] for k in (np.asarray(intrinsics_a), np.asarray(intrinsics_b)) for i in (0, 1)])
    parameters = usac(
        threshold / float(focal),
        probability,
        iterations,
        seed,
        score=cv2.SCORE_METHOD_MAGSAC,
        local=cv2.LOCAL_OPTIM_SIGMA,
        sample=50,
        polisher=cv2.MAGSAC,
    )
    essentials, mask = cv2.findEssentialMat(a, b, np.eye(3), np.eye(3), np.zeros(4), np.zeros(4), parameters)
    if essentials is None or mask is None:
        return None
    limit, consensus = threshold / float(focal), mask.ravel() > 0
    rotation, direction, supporters = _in_front_most(
        np.asarray(essentials, dtype=np.float64), a, b, consensus, limit
    )
    if supporters.sum() < _LEAST_IN_FRONT * consensus.sum():
        return None
    inliers = np.zeros(count, dtype=bool)
    inliers[finite[supporters]] = True
    confidence = float(supporters.sum())
    if refine and confidence > _MIN_MATCHES:
        chosen = supporters
        for _ in range(2):  # the second time with the inliers of the first refinement
            rotation, direction = refine_relative_pose(
                rotation, direction, a[chosen], b[chosen], scale=limit / 2
            )
            chosen = np.abs(sampson_distance(rotation, direction, a, b)) < limit
            if chosen.sum() <= _MIN_MATCHES:
                break
    if not _turn_is_determined(rotation, direction, a[supporters], b[supporters], limit):
        return None
    return PoseEstimate(rotation, direction, inliers, confidence)


def _in_front_most(
    essentials: FloatArray, a: FloatArray, b: FloatArray, consensus: NDArray[np.bool_], limit: float
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Of all poses of essential matrices (3 * matrix, 3), the one with most inliers in front of both cameras.

    Returns:
        Rotation, direction, and which of the consensus lie in front of both cameras.
    """
    best = np.eye(3), np.zeros(3), np.zeros(len(a), dtype=bool)
    for essential in np.split(essentials, len(essentials) // 3):
        *turns, aside = (np.asarray(m, dtype=np.float64) for m in cv2.decomposeEssentialMat(essential))
        for turn in turns:
            for direction in (aside.ravel(), -aside.ravel()):  # two rotations, two signs: four poses
                supporters = consensus & _in_front(turn, direction, a, b, limit)
                if supporters.sum() > best[2].sum():
                    best = turn, direction, supporters
    return best


def _in_front(
    rotation: FloatArray, direction: FloatArray, a: FloatArray, b: FloatArray, limit: float
) -> NDArray[np.bool_]:
    """Which matches triangulate in front of both cameras; nearly parallel rays count if both cameras look that way."""
    ones = np.ones((len(a), 1))
    ray_a, ray_b = np.concatenate((a, ones), 1) @ rotation.T, np.concatenate((b, ones), 1)
    normal = np.cross(ray_a, ray_b)  # (match, 3)
    # Signs of both depths in depth_a * ray_a + direction = depth_b * ray_b, solved by cross products.
    ahead_a = (np.cross(ray_b, direction) * normal).sum(1) > 0
    ahead_b = (np.cross(ray_a, direction) * normal).sum(1) > 0
    sine = np.linalg.norm(normal, axis=1) / (np.linalg.norm(ray_a, axis=1) * np.linalg.norm(ray_b, axis=1))
    return np.where(sine > limit, ahead_a & ahead_b, (ray_a * ray_b).sum(1) > 0)


def _turn_is_determined(
    rotation: FloatArray, direction: FloatArray, a: FloatArray, b: FloatArray, limit: float
) -> bool:
    """Whether inliers determine the rotation; the direction may be undetermined, as for a camera that only rotates."""
    if not any(spread_over(rays, 2, limit) for rays in (a, b)):
        return False
    jacobian = sampson_jacobian(rotation, direction, a, b)  # (match, 3 of the rotation + 2 of the direction)
    return determined(jacobian[:, :3], limit, others=jacobian[:, 3:])


def with_metric_scale(
    estimate: PoseEstimate, points_a: FloatArray, points_b: FloatArray, *, tolerance: float = 0.1
) -> PoseEstimate | None:
    """Give an estimate with unit translation its length in metres.

    Match j proposes s_j = (X_b - R X_a) . t. The proposal with most others within the tolerance is taken unchanged,
    without averaging; in a tie the first one wins. It may be negative if the metric points contradict the direction.

    Args:
        estimate: from `pose_from_matches`.
        points_a, points_b: (match, 3), the matches' metric points, each in its own camera's frame.
        tolerance: metres.

    Returns:
        The scaled estimate, with the supporters as inliers and their number as confidence; None if no inlier has finite
        points.

    Raises:
        ValueError: if the arrays do not match each other or the estimate.
    """
    count = check_matched("with_metric_scale", points_a=(points_a, 3), points_b=(points_b, 3))
    if count != len(estimate.inliers):
        raise ValueError(
            f"the estimate was made from {len(estimate.inliers)} matches, the points are of {count}; pass points "
            "of the same matches in the same order"
        )
    usable = estimate.inliers & np.isfinite(points_a).all(1) & np.isfinite(points_b).all(1)
    index = np.flatnonzero(usable)
    if len(index) == 0:
        return None
    moved = points_b[index].astype(np.float64) - points_a[index].astype(np.float64) @ estimate.rotation.T
    lengths = moved @ estimate.translation  # (inlier,), one proposal each
    ordered = np.sort(lengths)
    low = np.searchsorted(ordered, lengths - tolerance, side="right")
    high = np.searchsorted(ordered, lengths + tolerance, side="left")
    winner = int(np.argmax(high - low))  # most proposals within the tolerance
    inliers = np.zeros(count, dtype=bool)
    inliers[index] = np.abs(lengths - lengths[winner]) < tolerance
    return replace(
        estimate,
        translation=estimate.translation * lengths[winner],
        inliers=inliers,
        confidence=float(high[winner] - low[winner]),
    )


def _normalized(pixels: FloatArray, intrinsics: FloatArray) -> FloatArray:
    homogeneous = np.concatenate((pixels, np.ones((len(pixels), 1))), axis=1).astype(np.float64)
    return np.ascontiguousarray(
        (homogeneous @ np.linalg.inv(np.asarray(intrinsics, dtype=np.float64)).T)[:, :2]
    )
