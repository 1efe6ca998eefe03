"""Pose from 3-D points and their pixels (PnP) under outliers: RANSAC, then refinement on the inliers.

The default is OpenCV's USAC. It samples three points, solves them exactly (P3P, up to four poses per sample), improves
every new best pose on random subsets of its inliers (local optimization), and stops after enough samples for its share
of inliers. The other solvers are OpenCV's older RANSAC, without local optimization: `p3p` samples four points (the
fourth selects one of the poses); `sqpnp` and `epnp` sample five and solve them by EPnP, which needs far more samples
under many outliers.

For relocalization the points are the reference view's metric pointmap at the matches, and the pixels are those in the
query, so the pose is in metres without any scale step. Sources: MASt3R's visual-localization practice; USAC (Raguram et
al., TPAMI 2013); LO-RANSAC (Chum, Matas, Kittler, DAGM 2003).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from codistill.errors import ConfigError, unknown_name
from codistill.geometry.degeneracy import determined, spread_over
from codistill.geometry.estimate import FloatArray, PoseEstimate, check_matched
from codistill.geometry.robust import MAX_SAMPLES, PNP_SOLVERS, PROBABILITY, PnpSolver
from codistill.geometry.usac import usac

_OLDER = {"p3p": cv2.SOLVEPNP_P3P, "sqpnp": cv2.SOLVEPNP_SQPNP, "epnp": cv2.SOLVEPNP_EPNP}
_MIN_POINTS = 4
_MIN_REFINE = 6
_REFITS = 5
_LOCAL_SAMPLE = 14


def pose_from_points_and_pixels(
    points: FloatArray,
    pixels: FloatArray,
    intrinsics: FloatArray,
    *,
    threshold: float = 5.0,
    probability: float = PROBABILITY,
    iterations: int = MAX_SAMPLES,
    solver: PnpSolver = "usac",
    seed: int = 0,
) -> PoseEstimate | None:
    """Estimate the pose that maps the points' frame to the frame of the camera that sees the pixels.

    Args:
        points: (match, 3), metres, in the reference frame. Rows that are not finite are never inliers.
        pixels: (match, 2), (x, y) in the camera whose pose is wanted, no lens distortion.
        intrinsics: (3, 3) of that camera.
        threshold: largest reprojection error of an inlier, pixels.
        probability: wanted probability that one all-inlier sample was drawn.
        iterations: largest number of samples; fewer are drawn if many matches agree.
        solver: see the module.
        seed: seed of the sampling of `usac`; the others start from the same state at each call.

    Returns:
        The estimate, whose confidence is the number of inliers, all of them in front of the camera. None with fewer
        than 4 finite matches, no consensus, or inliers that do not determine the pose (copies of a match, points on a
        line).

    Raises:
        ValueError: if the arrays do not match. ConfigError: for an unknown solver.
    """
    if solver not in PNP_SOLVERS:
        raise ConfigError(unknown_name("PnP solver", solver, PNP_SOLVERS))
    count = check_matched("pose_from_points_and_pixels", points=(points, 3), pixels=(pixels, 2))
    finite = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(pixels).all(1))
    if len(finite) < _MIN_POINTS or not np.isfinite(intrinsics).all():
        return None
    object_points = np.ascontiguousarray(points[finite], dtype=np.float64)
    image_points = np.ascontiguousarray(pixels[finite], dtype=np.float64)
    camera = np.array(intrinsics, dtype=np.float64)
    try:
        if solver == "usac":
            found, _, turn, shift, _ = cv2.solvePnPRansac(
                object_points,
                image_points,
                camera,
                None,
                params=usac(
                    threshold,
                    probability,
                    iterations,
                    seed,
                    score=cv2.SCORE_METHOD_MSAC,
                    local=cv2.LOCAL_OPTIM_INNER_LO,
                    sample=_LOCAL_SAMPLE,
                    polisher=cv2.LSQ_POLISHER,
                ),
            )
        else:
            found, turn, shift, _ = cv2.solvePnPRansac(
                object_points,
                image_points,
                camera,
                None,
                flags=_OLDER[solver],
                reprojectionError=threshold,
                confidence=probability,
                iterationsCount=iterations,
            )
    except cv2.error:  # raised for degenerate points if no sample has a solution
        return None
    if not found:
        return None
    start = np.asarray(turn, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    turn, shift, chosen = _refined(object_points, image_points, camera, *start, threshold)
    if chosen.sum() < _MIN_POINTS:
        return None
    seen = object_points[chosen], image_points[chosen]
    if not _well_posed(*seen, camera, turn, shift, threshold):
        return None
    inliers = np.zeros(count, dtype=bool)
    inliers[finite[chosen]] = True  # indices among all matches
    rotation = cv2.Rodrigues(turn)[0].astype(np.float64)
    return PoseEstimate(rotation, shift.ravel().astype(np.float64), inliers, float(chosen.sum()))


def _refined(
    points: FloatArray,
    pixels: FloatArray,
    camera: FloatArray,
    turn: FloatArray,
    shift: FloatArray,
    threshold: float,
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Least squares over the inliers, repeated on the new inliers as long as the truncated squared error decreases.

    Returns:
        Rotation vector, translation, and which points are inliers of them.
    """
    squared = _squared_error(points, pixels, camera, turn, shift)
    for _ in range(_REFITS):
        chosen = squared < threshold**2
        if chosen.sum() < _MIN_REFINE:
            break
        start = turn.copy(), shift.copy()  # OpenCV writes into these
        moved = cv2.solvePnPRefineLM(points[chosen], pixels[chosen], camera, None, *start)
        candidate = np.asarray(moved[0], dtype=np.float64), np.asarray(moved[1], dtype=np.float64)
        again = _squared_error(points, pixels, camera, *candidate)
        if not np.minimum(again, threshold**2).sum() < np.minimum(squared, threshold**2).sum():
            break
        (turn, shift), squared = candidate, again
    return turn, shift, squared < threshold**2


def _well_posed(
    points: FloatArray,
    pixels: FloatArray,
    camera: FloatArray,
    turn: FloatArray,
    shift: FloatArray,
    threshold: float,
) -> bool:
    """Whether the inliers determine all six parameters of the pose; translations are in units of the points' depth."""
    local = points @ cv2.Rodrigues(turn)[0].T + shift.ravel()
    x, y, z = local.T  # (match,) each
    depth, focal = float(np.median(z)), float(camera[0, 0])
    apart = spread_over(pixels, 1, threshold) and spread_over(points, 2, threshold * depth / focal)
    if not apart:
        return False
    fx, fy, zero = camera[0, 0] / z, camera[1, 1] / z, np.zeros_like(z)
    by_point = np.stack(  # (match, pixel axis, point axis)
        [np.stack([fx, zero, -fx * x / z], axis=1), np.stack([zero, fy, -fy * y / z], axis=1)], axis=1
    )
    by_turn = np.stack(  # (match, point axis, rotation axis): the cross product with each axis
        [np.stack([zero, z, -y], 1), np.stack([-z, zero, x], 1), np.stack([y, -x, zero], 1)], axis=1
    )
    jacobian = np.concatenate([by_point @ by_turn, by_point * depth], axis=2).reshape(-1, 6)  # (2 * match, 6)
    return determined(jacobian, threshold)


def _squared_error(
    points: FloatArray, pixels: FloatArray, camera: FloatArray, turn: FloatArray, shift: FloatArray
) -> FloatArray:
    """Squared reprojection errors (match,); infinite for points behind the camera."""
    local = points @ cv2.Rodrigues(turn)[0].T + shift.ravel()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        projected = local @ camera.T
        squared = ((projected[:, :2] / projected[:, 2:] - pixels) ** 2).sum(1)  # (match,)
    return np.where((local[:, 2] > 0) & np.isfinite(squared), squared, np.inf)
