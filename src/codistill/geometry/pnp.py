"""Pose from 3-D points and their pixels (PnP) under outliers: OpenCV's RANSAC, then refinement on the inliers.

For relocalization the points are the reference view's metric pointmap at the matches, the pixels those in the
query; the pose comes out in metres without any scale step. Source: MASt3R's visual-localization practice.
"""

from typing import Literal

import cv2
import numpy as np

from codistill.errors import ConfigError, unknown_name
from codistill.geometry.estimate import FloatArray, PoseEstimate, check_matched

PnpSolver = Literal["sqpnp", "p3p", "epnp"]
_SOLVERS: dict[str, int] = {
    "sqpnp": cv2.SOLVEPNP_SQPNP,
    "p3p": cv2.SOLVEPNP_P3P,
    "epnp": cv2.SOLVEPNP_EPNP,
}
_MIN_POINTS = 4
_MIN_REFINE = 6


def pose_from_points_and_pixels(
    points: FloatArray,
    pixels: FloatArray,
    intrinsics: FloatArray,
    *,
    threshold: float = 5.0,
    probability: float = 0.9999,
    iterations: int = 1000,
    solver: PnpSolver = "sqpnp",
) -> PoseEstimate | None:
    """The pose that maps the points' frame to the camera of the pixels.

    Deterministic: OpenCV seeds its own generator at each call.

    Args:
        points: (match, 3), metres, in the reference frame. Rows that are not finite are never inliers.
        pixels: (match, 2), (x, y) in the camera whose pose is wanted, no lens distortion.
        intrinsics: (3, 3) of that camera.
        threshold: largest reprojection error of an inlier, pixels.
        probability: wanted probability that one all-inlier sample was drawn.
        iterations: at most so many samples. At 70 % outliers, 1000 samples of 4 hold about 8 clean ones.
        solver: minimal solver of the sampling: `sqpnp`, `p3p`, `epnp`.

    Returns:
        The estimate, its confidence the number of inliers; None with fewer than 4 finite matches or no consensus.

    Raises:
        ValueError: if the arrays do not match. ConfigError: for an unknown solver.
    """
    if solver not in _SOLVERS:
        raise ConfigError(unknown_name("PnP solver", solver, _SOLVERS))
    count = check_matched("pose_from_points_and_pixels", points=(points, 3), pixels=(pixels, 2))
    finite = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(pixels).all(1))
    if len(finite) < _MIN_POINTS:
        return None
    object_points = np.ascontiguousarray(points[finite], dtype=np.float64)
    image_points = np.ascontiguousarray(pixels[finite], dtype=np.float64)
    camera = np.asarray(intrinsics, dtype=np.float64)
    found, turn, shift, chosen = cv2.solvePnPRansac(
        object_points,
        image_points,
        camera,
        None,
        flags=_SOLVERS[solver],
        reprojectionError=threshold,
        confidence=probability,
        iterationsCount=iterations,
    )
    if not found or chosen is None:
        return None
    chosen = chosen.ravel().astype(np.intp)
    if len(chosen) >= _MIN_REFINE:
        turn, shift = cv2.solvePnPRefineLM(
            object_points[chosen], image_points[chosen], camera, None, turn, shift
        )
    inliers = np.zeros(count, dtype=bool)
    inliers[finite[chosen]] = True
    rotation = cv2.Rodrigues(turn)[0].astype(np.float64)
    return PoseEstimate(rotation, shift.ravel().astype(np.float64), inliers, float(len(chosen)))
