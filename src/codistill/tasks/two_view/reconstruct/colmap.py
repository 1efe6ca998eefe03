"""Write a scene as a COLMAP text model and its pictures: cameras.txt, images.txt, points3D.txt, names.json, images/.

The pictures in `images/` are upright, without EXIF rotation, as they were used, so that their size is that in
cameras.txt. Their names are unique and without blanks, at which the format would cut them; names.json has the original
paths.
Source: COLMAP's documentation of its output format.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from codistill.geometry.poses import matrix_to_quaternion
from codistill.tasks.two_view.reconstruct.scene import Scene

_MOST_POINTS = 100_000


def write_colmap(scene: Scene, folder: Path) -> None:
    """Write the model; points have no tracks, and at most 100 000 of them are written.

    Raises:
        OSError: if it cannot be written.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for camera, name in zip(scene.cameras, scene.names(), strict=True):
        Image.fromarray(camera.image.pixels).save(folder / "images" / name, compress_level=1)
    table = {name: str(camera.image.path) for name, camera in zip(scene.names(), scene.cameras, strict=True)}
    texts = {
        "cameras.txt": _cameras(scene),
        "images.txt": _images(scene),
        "points3D.txt": _points(scene),
        "names.json": [json.dumps(table, indent=1, ensure_ascii=False)],
    }
    for name, lines in texts.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cameras(scene: Scene) -> list[str]:
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy"]
    for number, camera in enumerate(scene.cameras, start=1):
        (rows, columns), focal = camera.image.size, f"{camera.focal:.6f}"
        # COLMAP places pixel centres at half-integers
        lines.append(f"{number} PINHOLE {columns} {rows} {focal} {focal} {columns / 2} {rows / 2}")
    return lines


def _images(scene: Scene) -> list[str]:
    """Two lines per image; the second one, for its 2-D points, is empty."""
    lines = ["# IMAGE_ID qw qx qy qz tx ty tz CAMERA_ID NAME"]
    for number, (camera, name) in enumerate(zip(scene.cameras, scene.names(), strict=True), start=1):
        pose = np.linalg.inv(camera.camera_to_world)
        quaternion = matrix_to_quaternion(torch.from_numpy(pose[:3, :3])).tolist()
        numbers = " ".join(f"{value:.9f}" for value in (*quaternion, *pose[:3, 3]))
        lines += [f"{number} {numbers} {number} {name}", ""]
    return lines


def _points(scene: Scene) -> list[str]:
    step = max(1, -(-len(scene.points) // _MOST_POINTS))
    rows = zip(scene.points[::step], scene.colours[::step], strict=True)
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    lines += [
        f"{number} {x:.6f} {y:.6f} {z:.6f} {r} {g} {b} 0"
        for number, ((x, y, z), (r, g, b)) in enumerate(rows, start=1)
    ]
    return lines
