"""Pinhole camera: intrinsics, pose, and the rays through its pixels.

Camera frame: x right, y down, z forward. Coordinates (column, row) = (0, 0) are the centre of the upper left pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats


@dataclass(frozen=True)
class Camera:
    """Intrinsics and pose of a picture.

    Attributes:
        intrinsics: (3, 3), in pixels.
        pose: (4, 4) camera-to-world, in metres.
        height, width: size of the picture in pixels.
    """

    intrinsics: NDArray[np.float64]
    pose: NDArray[np.float64]
    height: int
    width: int

    @classmethod
    def looking(
        cls,
        eye: NDArray[np.floating],
        target: NDArray[np.floating],
        fov_degrees: float,
        size: int,
        roll: float = 0.0,
    ) -> "Camera":
        """Camera of a square picture of `size` pixels, at `eye`, looking at `target`, with z up; `roll` in degrees."""
        forward = np.asarray(target, np.float64) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        angle = np.radians(roll)
        pose = np.eye(4)
        pose[:3, 0] = np.cos(angle) * right + np.sin(angle) * down
        pose[:3, 1] = np.cos(angle) * down - np.sin(angle) * right
        pose[:3, 2] = forward
        pose[:3, 3] = eye
        focal = 0.5 * size / np.tan(np.radians(fov_degrees) / 2)
        centre = 0.5 * size - 0.5
        intrinsics = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]])
        return cls(intrinsics, pose, size, size)

    @property
    def position(self) -> Floats:
        """Centre of projection (3,), in metres."""
        return self.pose[:3, 3].astype(np.float32)

    @property
    def pixel_angle(self) -> float:
        """Width of a pixel at depth 1."""
        return float(1.0 / self.intrinsics[0, 0])

    def directions(self, offsets: Floats | None = None) -> Floats:
        """Ray directions (row * column, 3) in the world, with z-component 1 in the camera frame.

        A distance along such a ray is therefore a z-depth.

        Args:
            offsets: (row * column, 2), position of the ray within its pixel, -0.5 to 0.5; None for the centre.
        """
        columns, rows = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
        if offsets is not None:
            pixels = pixels + offsets
        fx, fy = self.intrinsics[0, 0], self.intrinsics[1, 1]
        cx, cy = self.intrinsics[0, 2], self.intrinsics[1, 2]
        x = (pixels[:, 0] - cx) / fx
        y = (pixels[:, 1] - cy) / fy
        rotation = self.pose[:3, :3]
        out = np.empty((len(pixels), 3), np.float32)
        for axis in range(3):
            out[:, axis] = x * rotation[axis, 0] + y * rotation[axis, 1] + rotation[axis, 2]
        return out

    def project(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (N, 2) as (column, row) and z-depths (N,) of world points (N, 3)."""
        local = (np.asarray(points, np.float64) - self.pose[:3, 3]) @ self.pose[:3, :3]
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        pixels = local[:, :2] / safe[:, None] * [self.intrinsics[0, 0], self.intrinsics[1, 1]]
        return pixels + self.intrinsics[:2, 2], depth
