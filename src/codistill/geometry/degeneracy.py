"""Test whether the inliers of a pose determine it: copies of one match, points on a line and the like do not.

For such inputs a robust solver also finds a pose, with all of them as inliers. Two tests reveal it: the spread of the
inputs, compared with the inlier tolerance, and how far the pose can rotate before the inliers move by that tolerance
(the smallest singular value of their Jacobian). Coplanar points pass wherever a plane determines the pose.
"""

import numpy as np

from codistill.geometry.estimate import FloatArray

LARGEST_TURN = 0.5
"""Radians: a pose that can rotate further, while its inliers together move by one tolerance, is not determined."""


def spread_over(points: FloatArray, axes: int, tolerance: float) -> bool:
    """Whether points (match, axis) are spread by more than a tolerance (rms) in `axes` perpendicular directions."""
    if len(points) <= axes:
        return False
    centred = points - points.mean(axis=0)  # singular values / √match are rms spreads
    scatter = np.linalg.svd(centred, compute_uv=False) / np.sqrt(len(points))
    return bool(scatter[axes - 1] > tolerance)


def determined(jacobian: FloatArray, tolerance: float, others: FloatArray | None = None) -> bool:
    """Whether residuals determine the parameters.

    Args:
        jacobian: (residual, parameter), change of the residuals per radian, or a comparable unit, of each parameter.
        tolerance: tolerance of a residual.
        others: (residual, other), the same for free parameters, which may compensate part of the change.
    """
    if not np.isfinite(jacobian).all() or jacobian.shape[0] < jacobian.shape[1]:
        return False
    if others is not None:
        basis, size, _ = np.linalg.svd(others, full_matrices=False)
        basis = basis[:, size > 1e-9 * max(float(size[0]), 1e-30)]
        jacobian = jacobian - basis @ (basis.T @ jacobian)  # the part that `others` cannot compensate
    weakest = np.linalg.svd(jacobian, compute_uv=False)[-1]
    return bool(weakest * LARGEST_TURN > tolerance)
