"""Refine a relative pose on its inlier matches: robust Levenberg-Marquardt on the Sampson distance.

The minimal solver of an essential matrix uses five matches. This uses all inliers, over the five degrees of freedom
that pixels determine (a rotation, a direction). Source: Hartley and Zisserman, section 11.4.
"""

import cv2
import numpy as np

from codistill.geometry.estimate import FloatArray

_STEP = 1e-6


def refine_relative_pose(
    rotation: FloatArray,
    direction: FloatArray,
    rays_a: FloatArray,
    rays_b: FloatArray,
    *,
    scale: float,
    iterations: int = 20,
) -> tuple[FloatArray, FloatArray]:
    """Refine `pose_b_from_a` with unit translation.

    Args:
        rotation, direction: (3, 3) and (3,), the initial pose.
        rays_a, rays_b: (match, 2), inlier matches in normalized image coordinates.
        scale: distance, in those coordinates, at which a match starts to lose weight (Cauchy).
        iterations: largest number of damped steps.

    Returns:
        Rotation and unit direction whose robust cost is not above the initial one.
    """
    rotation, direction = np.array(rotation, dtype=np.float64), np.array(direction, dtype=np.float64)
    damping, cost = 1e-3, _cost(sampson_distance(rotation, direction, rays_a, rays_b), scale)
    for _ in range(iterations):
        error = sampson_distance(rotation, direction, rays_a, rays_b)
        jacobian = sampson_jacobian(rotation, direction, rays_a, rays_b)
        weight = 1.0 / (1.0 + (error / scale) ** 2)  # (match,): Cauchy weights
        normal = jacobian.T @ (weight[:, None] * jacobian)  # (5, 5)
        gradient = jacobian.T @ (weight * error)
        step = -np.linalg.lstsq(normal + damping * np.diag(normal.diagonal()), gradient, rcond=None)[0]
        candidate = _moved(rotation, direction, step)
        new_cost = _cost(sampson_distance(*candidate, rays_a, rays_b), scale)
        if not new_cost < cost:
            damping *= 10.0  # towards gradient descent
            if damping > 1e6:
                break
            continue
        converged = cost - new_cost < 1e-9 * cost
        (rotation, direction), cost, damping = candidate, new_cost, damping / 10.0
        if converged:
            break
    return rotation, direction


def sampson_jacobian(
    rotation: FloatArray, direction: FloatArray, rays_a: FloatArray, rays_b: FloatArray
) -> FloatArray:
    """Derivatives (match, 5) of Sampson distances: 3 by a rotation vector, 2 by the direction in its tangent plane."""
    error = sampson_distance(rotation, direction, rays_a, rays_b)
    moved = [
        sampson_distance(*_moved(rotation, direction, _STEP * axis), rays_a, rays_b) for axis in np.eye(5)
    ]
    return (np.stack(moved, axis=1) - error[:, None]) / _STEP


def _moved(rotation: FloatArray, direction: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotate by step[:3] (rotation vector), and move the direction by step[3:] in its tangent plane."""
    turn = cv2.Rodrigues(np.ascontiguousarray(step[:3]))[0].astype(np.float64)
    tangent = np.linalg.svd(direction[None])[2][1:]  # (2, 3), orthogonal to the direction
    moved = direction + step[3:] @ tangent
    return turn @ rotation, moved / np.linalg.norm(moved)


def sampson_distance(
    rotation: FloatArray, direction: FloatArray, rays_a: FloatArray, rays_b: FloatArray
) -> FloatArray:
    """Signed first-order distances (match,) of matches to the epipolar constraint of `pose_b_from_a`.

    Args:
        rotation, direction: (3, 3) and (3,); the length of the direction does not matter.
        rays_a, rays_b: (match, 2) in normalized image coordinates; so is the result.
    """
    x, y, z = direction
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    a, b = (np.concatenate((rays, np.ones((len(rays), 1))), axis=1) for rays in (rays_a, rays_b))
    line_b, line_a = a @ essential.T, b @ essential  # (match, 3): epipolar lines
    slope = np.sqrt((line_b[:, :2] ** 2).sum(1) + (line_a[:, :2] ** 2).sum(1))
    return (b * line_b).sum(1) / np.maximum(slope, 1e-15)


def _cost(error: FloatArray, scale: float) -> float:
    return float(np.log1p((error / scale) ** 2).sum())
