"""Draw a scene as a picture: images, depth, matches, and the points from a new viewpoint."""

import cv2
import numpy as np
import torch
from PIL import Image

from codistill.geometry.poses import invert_pose, transform_points
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_vector
from codistill.imaging.colours import depth_picture, depth_range
from codistill.imaging.marks import match_picture
from codistill.imaging.pictures import below, grid_picture
from codistill.tasks.two_view.reconstruct.files import camera_colour, frustum
from codistill.tasks.two_view.reconstruct.scene import Scene

_SHOWN = 6
_CELL = (360, 460)
"""Rows and columns of the largest picture in a row."""


def preview(scene: Scene) -> Image.Image:
    """Rows of images with their depth and the points seen from the side; then matches of up to three pairs."""
    rows = []
    near, far = depth_range(*(camera.depth for camera in scene.cameras))
    for number, camera in enumerate(scene.cameras[:_SHOWN]):
        aside = render_aside(scene, number)
        rows.append([camera.image.pixels, depth_picture(camera.depth, near, far), aside])
    parts = [np.asarray(grid_picture(rows, ("image", "depth", "the points from aside"), _CELL))]
    links = sorted(scene.links, key=lambda link: -link.inliers)[:3]
    for link in links:
        images = (scene.cameras[link.first].image.pixels, scene.cameras[link.second].image.pixels)
        drawn = match_picture(*images, link.matches.pixels_a, link.matches.pixels_b)
        parts.append(_no_wider(drawn, parts[0].shape[1]))
    return Image.fromarray(below(*parts, gap=6))


def _no_wider(picture: np.ndarray, width: int) -> np.ndarray:
    if picture.shape[1] <= width:
        return picture
    size = (width, max(1, round(picture.shape[0] * width / picture.shape[1])))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def render_aside(scene: Scene, number: int, *, degrees: float = 20.0, width: int = _CELL[1]) -> np.ndarray:
    """Render the scene's points from a camera next to an image's camera, (row, column, 3) uint8.

    The new camera is rotated by `degrees` around the centre of the image's points, and 30 % farther away. Cameras are
    drawn as pyramids.
    """
    camera = scene.cameras[number]
    distance = float(np.median(camera.depth))
    pose = camera.camera_to_world @ circling(degrees, distance)
    rows, columns = camera.depth.shape
    scale = width / columns
    size = (max(1, round(rows * scale)), width)
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2] *= scale
    canvas = render_points(scene.points, scene.colours, intrinsics, pose, size)
    for index, other in enumerate(scene.cameras):
        _draw_frustum(canvas, *frustum(other, 0.12 * distance), intrinsics, pose, camera_colour(index))
    return canvas


def circling(degrees: float, distance: float) -> np.ndarray:
    """A pose (4, 4) in a camera's frame: rotated around, and slightly above, the point at `distance` in front of it."""
    angles = torch.tensor([[0.0, degrees, 0.0], [-12.0, 0.0, 0.0]], dtype=torch.float64)
    yaw, pitch = rotation_from_vector(torch.deg2rad(angles)).numpy()
    turn = yaw @ pitch
    pose = np.eye(4)
    pose[:3, :3] = turn
    pose[:3, 3] = np.array([0.0, 0.0, distance]) - turn @ np.array([0.0, 0.0, 1.3 * distance])
    return pose


def render_points(
    points: np.ndarray,
    colours: np.ndarray,
    intrinsics: np.ndarray,
    camera_to_world: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Draw points as small squares on white, nearest in front; (row, column, 3) uint8."""
    rows, columns = size
    canvas = np.full((rows, columns, 3), 255, dtype=np.uint8)
    pixels, depth = _projected(points, intrinsics, camera_to_world)
    order = np.argsort(-depth)  # far points first, so that near points are drawn over them
    order = order[depth[order] > 1e-3]
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = np.floor(pixels[order]).astype(int).T + np.array([[dx], [dy]])
        inside = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
        canvas[y[inside], x[inside]] = colours[order][inside]
    return canvas


def _projected(
    points: np.ndarray, intrinsics: np.ndarray, camera_to_world: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    seen_by, camera, places = (
        torch.from_numpy(np.asarray(values, np.float64)) for values in (camera_to_world, intrinsics, points)
    )
    local = transform_points(invert_pose(seen_by), places)
    return np.clip(np.nan_to_num(project(local, camera).numpy()), -1e6, 1e6), local[:, 2].numpy()


def _draw_frustum(
    canvas: np.ndarray,
    vertices: np.ndarray,
    _: np.ndarray,
    intrinsics: np.ndarray,
    pose: np.ndarray,
    colour: tuple[int, int, int],
) -> None:
    pixels, depth = _projected(vertices, intrinsics, pose)
    for first, second in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)):
        if min(depth[first], depth[second]) > 1e-3:
            ends = [tuple(round(float(v)) for v in pixels[index]) for index in (first, second)]
            cv2.line(canvas, ends[0], ends[1], colour, 1, cv2.LINE_AA)
