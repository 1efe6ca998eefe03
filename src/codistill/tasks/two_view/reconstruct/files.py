"""Write a scene to files: GLB with drawn cameras, PLY, COLMAP's text model, JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import DataError, MissingExtraError, unknown_name
from codistill.files.writing import atomically, cannot_write
from codistill.imaging.colours import number_colours
from codistill.tasks.two_view.reconstruct.colmap import write_colmap
from codistill.tasks.two_view.reconstruct.scene import Camera, Scene

_TO_GLTF = np.diag([1.0, -1.0, -1.0, 1.0])
"""Change of axes: in glTF, y points up and cameras look along -z."""


def write_scene(scene: Scene, path: Path, about: dict[str, Any]) -> None:
    """Write a scene in the format that the path's suffix names (.glb, .ply, .json); without a suffix, a COLMAP folder.

    Args:
        scene: the scene to write.
        path: a file, or the folder of a COLMAP text model.
        about: model, licence, settings, for the JSON.

    Raises:
        DataError: for another suffix.
        WriteError: if the path cannot be written.
        MissingExtraError: for .glb without trimesh.
    """
    check_target(path)
    writer = _WRITERS[path.suffix.lower()]
    if path.suffix:
        with atomically(path) as temporary:
            writer(scene, temporary, about)
        return
    try:
        writer(scene, path, about)
    except OSError as error:
        raise cannot_write(path, error) from error


def check_target(path: Path) -> None:
    """Refuse an output path that cannot be written, before anything is computed.

    Raises:
        DataError: for an unknown suffix (the message lists the known ones); for a folder in place of a file, or a file
            in place of a folder.
        MissingExtraError: for .glb without trimesh.
    """
    if path.suffix.lower() not in _WRITERS:
        raise DataError(
            f"{path}: {unknown_name('kind of file', path.suffix, [s for s in _WRITERS if s])} "
            "A name without a suffix is a folder for COLMAP's text model."
        )
    if path.exists() and path.is_dir() != (path.suffix == ""):
        kind = (
            "a folder, and a file is to be written" if path.is_dir() else "a file, and COLMAP needs a folder"
        )
        raise DataError(f"{path} is {kind}; give another name")
    if path.suffix.lower() == ".glb":
        _trimesh()


def describe(scene: Scene, about: dict[str, Any]) -> dict[str, Any]:
    """Cameras, pairs and settings as plain data: focal lengths in pixels of the original images, poses in metres.

    Width, height and principal point refer to the upright picture; `exif_orientation` (1 to 8) is that of the file.
    `name` is unique; it is the picture's name in a COLMAP folder.
    """
    cameras = [
        {
            "image": str(camera.image.path),
            "name": name,
            "exif_orientation": camera.image.orientation,
            "width": camera.image.size[1],
            "height": camera.image.size[0],
            "focal": round(camera.focal, 3),
            "focal_is_known": camera.known_focal,
            "principal_point": [(camera.image.size[1] - 1) / 2, (camera.image.size[0] - 1) / 2],
            "camera_to_world": np.round(camera.camera_to_world, 6).tolist(),
            "mean_confidence": round(float(camera.confidence.mean()), 4),
        }
        for camera, name in zip(scene.cameras, scene.names(), strict=True)
    ]
    pairs = [
        {"images": [link.first, link.second], "matches": len(link.matches), "consistent": link.inliers}
        for link in scene.links
    ]
    loss = {"first": scene.losses[0], "last": scene.losses[-1]} if scene.losses else None
    return {**about, "points": len(scene.points), "cameras": cameras, "pairs": pairs, "alignment_loss": loss}


def _write_json(scene: Scene, path: Path, about: dict[str, Any]) -> None:
    path.write_text(json.dumps(describe(scene, about), indent=1) + "\n", encoding="utf-8")


def _write_ply(scene: Scene, path: Path, about: dict[str, Any]) -> None:
    """Binary, little endian: x y z as float, red green blue as uchar."""
    count = len(scene.points)
    fields = [f"property float {axis}" for axis in "xyz"]
    fields += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *fields, "end_header"]
    rows = np.zeros(count, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = scene.points, scene.colours
    path.write_bytes(("\n".join(header) + "\n").encode("ascii") + rows.tobytes())


def _write_glb(scene: Scene, path: Path, about: dict[str, Any]) -> None:
    trimesh = _trimesh()
    model = trimesh.Scene()
    model.add_geometry(trimesh.PointCloud(scene.points, colors=scene.colours), geom_name="points")
    size = _camera_size(scene)
    for number, (camera, name) in enumerate(zip(scene.cameras, scene.names(), strict=True)):
        vertices, faces = frustum(camera, size)
        colour = np.tile([*camera_colour(number), 255], (len(faces), 1)).astype(np.uint8)
        mesh = trimesh.Trimesh(vertices, faces, face_colors=colour, process=False)
        model.add_geometry(mesh, geom_name=f"camera_{name}")
    model.apply_transform(_TO_GLTF)
    data = model.export(file_type="glb")
    assert isinstance(data, bytes)
    path.write_bytes(data)


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError("trimesh", "world", "writing GLB files") from error
    return trimesh


def frustum(camera: Camera, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (5, 3) and triangles of a pyramid from the camera centre to its image at a depth of `size`."""
    rows, columns = camera.depth.shape
    k = camera.intrinsics
    corners = np.array([[-0.5, -0.5], [columns - 0.5, -0.5], [columns - 0.5, rows - 0.5], [-0.5, rows - 0.5]])
    rays = np.concatenate(((corners - k[:2, 2]) / [k[0, 0], k[1, 1]], np.ones((4, 1))), axis=1) * size
    local = np.concatenate((np.zeros((1, 3)), rays))
    world = local @ camera.camera_to_world[:3, :3].T + camera.camera_to_world[:3, 3]
    sides = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]]
    return world, np.array(sides + [face[::-1] for face in sides])


def camera_colour(number: int) -> tuple[int, int, int]:
    """A colour per camera; consecutive numbers have distant hues."""
    red, green, blue = number_colours(256)[number % 256].tolist()
    return red, green, blue


def _camera_size(scene: Scene) -> float:
    """Depth of the drawn pyramids: a tenth of the median distance of points from their median."""
    distance = (
        np.linalg.norm(scene.points - np.median(scene.points, axis=0), axis=1) if len(scene.points) else 1.0
    )
    return max(1e-4, 0.1 * float(np.median(distance)))


def _write_colmap(scene: Scene, path: Path, about: dict[str, Any]) -> None:
    write_colmap(scene, path)


_WRITERS = {".glb": _write_glb, ".ply": _write_ply, ".json": _write_json, "": _write_colmap}
"""The writer of each format, by suffix."""
