"""Render the points of a depth map from a camera beside the image's own."""

import numpy as np

from codistill.perception.scene import Scene
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.two_view.reconstruct.preview import circling, render_points


def points_from_aside(
    scene: Scene, index: int, answer: DepthAnswer, *, degrees: float = 18.0, width: int = 480
) -> np.ndarray:
    """Picture of the points, (row, column, 3) uint8 on white, with the image's aspect ratio.

    Args:
        scene: the scene with the image.
        index: index of the image.
        answer: its depth.
        degrees: angle by which the view is rotated about the middle of the points.
        width: pixels of the longer side.
    """
    points, colours = scene.cloud_of(answer, index, limit=400_000)
    rows, columns = scene.images[index].shape[:2]
    scale = width / max(rows, columns)
    size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    intrinsics = scene.camera(index).intrinsics.double().numpy().copy()
    intrinsics[:2] *= scale
    distance = float(np.median(points[:, 2])) if len(points) else 1.0
    return render_points(points, colours, intrinsics, circling(degrees, distance), size)
