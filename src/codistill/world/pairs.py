"""Two views of one place: overlap from depth maps, correspondences, and the choice of the second camera."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.geometry.poses import rotation_angle
from codistill.render.camera import Camera
from codistill.render.mesh import Floats
from codistill.render.scene import MergedScene

SAME_SURFACE = 0.01
"""Relative difference of depth below which two views are taken to see the same point."""

OVERLAP = (0.2, 0.9)
BASELINE = (0.1, 2.0)
MAX_ROTATION = 60.0


@dataclass(frozen=True)
class Reprojection:
    """Pixels of view 1 projected into view 2, flattened over row and column.

    Attributes:
        pixels: (N, 2) column and row in view 2.
        depth: (N,) z-depth in view 2.
        inside: (N,) whether the point falls into view 2.
        other: (N,) view 2's own depth at the nearest pixel; inf outside.
        visible: (N,) whether the point is inside view 2 and not occluded there.
    """

    pixels: NDArray[np.float64]
    depth: NDArray[np.float64]
    inside: NDArray[np.bool_]
    other: NDArray[np.float64]
    visible: NDArray[np.bool_]


def reproject(depth_1: Floats, camera_1: Camera, depth_2: Floats, camera_2: Camera) -> Reprojection:
    """Project each pixel of view 1 into view 2, and determine whether view 2 sees the same point.

    Args:
        depth_1, depth_2: (row, column) z-depth in metres, inf for sky.
    """
    flat = depth_1.reshape(-1).astype(np.float64)  # (N,)
    finite = np.isfinite(flat)
    rays = camera_1.directions().astype(np.float64)
    points = camera_1.pose[:3, 3] + rays * np.where(finite, flat, 1.0)[:, None]  # (N, 3) in the world
    pixels, depth = camera_2.project(points)
    column, row = np.round(pixels[:, 0]).astype(int), np.round(pixels[:, 1]).astype(int)
    inside = (
        finite
        & (depth > 1e-3)
        & (column >= 0)
        & (row >= 0)
        & (column < camera_2.width)
        & (row < camera_2.height)
    )
    other = np.full(len(flat), np.inf)
    other[inside] = depth_2[row[inside], column[inside]]  # (N,) depth seen by view 2
    visible = inside & (np.abs(other - depth) < tolerance(depth_2, row, column, inside) * depth)
    return Reprojection(pixels, depth, inside, other, visible)


def tolerance(
    depth: Floats, row: NDArray[np.int_], column: NDArray[np.int_], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Relative tolerance (N,) of the occlusion test: 1 %, plus the change of depth over half a pixel."""
    slope = np.zeros_like(depth, dtype=np.float64)
    safe = np.where(np.isfinite(depth), depth, 1e4).astype(np.float64)  # sky is far away, but finite
    # The smaller of both one-sided differences, which is large on slopes, but not at a step to another surface.
    horizontal = np.minimum(
        np.abs(np.diff(safe, axis=1, prepend=safe[:, :1])), np.abs(np.diff(safe, axis=1, append=safe[:, -1:]))
    )
    vertical = np.minimum(
        np.abs(np.diff(safe, axis=0, prepend=safe[:1])), np.abs(np.diff(safe, axis=0, append=safe[-1:]))
    )
    slope = 0.75 * (horizontal + vertical) / safe  # relative, over half a pixel in x and y, with a margin
    out = np.full(len(row), SAME_SURFACE)
    out[inside] += slope[row[inside], column[inside]]
    return out


def overlap(depth_1: Floats, camera_1: Camera, depth_2: Floats, camera_2: Camera) -> float:
    """Share of the pixels of each view that the other view sees too, averaged over both directions."""
    forth = reproject(depth_1, camera_1, depth_2, camera_2).visible.mean()
    back = reproject(depth_2, camera_2, depth_1, camera_1).visible.mean()
    return float(0.5 * (forth + back))


def rotation_between(a: Camera, b: Camera) -> float:
    """Angle in degrees between the orientations of two cameras."""
    relative = a.pose[:3, :3].T @ b.pose[:3, :3]
    return float(torch.rad2deg(rotation_angle(torch.from_numpy(relative))))


def small_depth(merged: MergedScene, camera: Camera, size: int = 40) -> tuple[Floats, Camera]:
    """Render a depth map of low resolution from a camera's view; also returns the camera of that resolution."""
    factor = size / camera.width
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2] *= factor
    intrinsics[:2, 2] += factor / 2 - 0.5
    low = Camera(intrinsics, camera.pose, size, size)
    directions = low.directions()
    hits = merged.tracer.first_hits(np.broadcast_to(low.position, directions.shape), directions)
    return hits.distance.reshape(size, size), low


def second_camera(
    merged: MergedScene,
    first: Camera,
    rng: np.random.Generator,
    allowed: "NDArray[np.floating]",
    height: float,
    tries: int = 24,
) -> Camera | None:
    """Find a second view whose overlap with the first is closest to one drawn uniformly from the allowed range.

    Args:
        allowed: (2,) half sides of the rectangle in which cameras may be.
        height: height of the ceiling.

    Returns:
        The camera; None if no try was within the limits of overlap, baseline, rotation and free space.
    """
    wanted = float(rng.uniform(OVERLAP[0] + 0.03, OVERLAP[1] - 0.03))
    depth_1, low_1 = small_depth(merged, first)
    best: tuple[float, Camera] | None = None
    for _ in range(tries):
        camera = _moved(first, rng, 1.0 - wanted)
        eye = camera.pose[:3, 3]
        if (np.abs(eye[:2]) > allowed).any() or not 0.3 < eye[2] < height - 0.15:
            continue
        if rotation_between(first, camera) > MAX_ROTATION - 1.0:
            continue
        depth_2, low_2 = small_depth(merged, camera)
        if float(np.percentile(depth_2, 5)) < 0.45:
            continue
        share = overlap(depth_1, low_1, depth_2, low_2)
        miss = abs(share - wanted)
        if OVERLAP[0] + 0.02 < share < OVERLAP[1] - 0.02 and (best is None or miss < best[0]):
            best = (miss, camera)
            if miss < 0.06:
                break
    return None if best is None else best[1]


def _moved(first: Camera, rng: np.random.Generator, amount: float) -> Camera:
    """Draw a camera near the first one, shifted by the baseline and rotated; more for a larger `amount` in 0 to 1."""
    longest = BASELINE[0] + (BASELINE[1] - BASELINE[0]) * np.clip(amount * 1.3, 0.15, 1.0)
    length = rng.uniform(BASELINE[0] * 1.05, longest * 0.98)
    direction = rng.standard_normal(3) * [1.0, 1.0, 0.35]
    eye = first.pose[:3, 3] + direction / np.linalg.norm(direction) * length
    turn = rng.normal(0, 26) * np.clip(amount * 1.4, 0.2, 1.0)
    forward = first.pose[:3, 2]
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    aim = np.array([c * forward[0] - s * forward[1], s * forward[0] + c * forward[1], forward[2]])
    aim[2] += rng.normal(0, 0.08)
    fov = 2 * np.degrees(np.arctan(0.5 * first.width / first.intrinsics[0, 0]))
    return Camera.looking(eye, eye + aim, float(fov), first.width, roll=float(rng.normal(0, 3)))
