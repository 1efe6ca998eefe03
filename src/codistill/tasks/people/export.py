"""Write bodies to files: JSON with parameters and joints, GLB with meshes and the camera."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from codistill.bodies.anny import PHENOTYPES
from codistill.bodies.base import BodyModel
from codistill.errors import MissingExtraError
from codistill.files.writing import write_bytes
from codistill.geometry.rotations import rotation_vector
from codistill.imaging.colours import number_colours
from codistill.tasks.people.focal import FoundCamera
from codistill.tasks.people.model import Bodies

TO_GLTF = np.array([1.0, -1.0, -1.0])
"""Change of axes from x right, y down, z forward to glTF's x right, y up, z backward."""


def people_json(
    image: str, size: tuple[int, int], camera: FoundCamera, body: BodyModel, found: Bodies
) -> Any:
    """The people of an image as JSON values.

    Args:
        image: name of the image. size: rows and columns, pixels. camera: camera of the image.
        body: the body model. found: the people.

    Returns:
        JSON values: metres in the camera frame (x right, y down, z forward); radians; pixels (x, y) with centres at
            integers.
    """
    return {
        "image": image,
        "rows": size[0],
        "columns": size[1],
        "camera": {"intrinsics": _numbers(camera.intrinsics), "focal_from": camera.source},
        "body": {"name": body.name, "licence": body.licence},
        "people": [_person(found, index, body) for index in range(len(found))],
    }


def _person(found: Bodies, index: int, body: BodyModel) -> dict[str, Any]:
    vectors = rotation_vector(found.rotmat[index])
    person: dict[str, Any] = {
        "score": round(float(found.score[index]), 4),
        "head": _numbers(found.head[index]),
        "pelvis": _numbers(found.pelvis[index]),
        "rotation_vectors": {
            name: _numbers(vector) for name, vector in zip(body.rotation_names, vectors, strict=True)
        },
        "shape": _shape(found.shape[index], body),
    }
    if found.expression.shape[1]:
        person["expression"] = _numbers(found.expression[index])
    joints = zip(body.joint_names, found.joints[index], found.joints_2d[index], strict=True)
    person["joints"] = {name: {"xyz": _numbers(xyz), "xy": _numbers(xy, 2)} for name, xyz, xy in joints}
    return person


def _shape(shape: Tensor, body: BodyModel) -> Any:
    """Anny's phenotypes by name, in [0, 1]; for other models, the unchanged coefficients."""
    if body.name == "anny":
        return dict(zip(PHENOTYPES, _numbers(shape.sigmoid()), strict=True))
    return _numbers(shape)


def _numbers(values: Tensor, digits: int = 5) -> Any:
    return np.round(values.numpy().astype(float), digits).tolist()


def write_glb(
    path: Path,
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: FoundCamera,
    size: tuple[int, int],
    *,
    points: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Write all bodies and the camera to one GLB file; there may be no people.

    Args:
        path: path of the file.
        vertices: (person, vertex, 3), in the camera frame, metres. faces: (face, 3).
        camera: camera of the image. size: its rows and columns.
        points: further points (point, 3) in the same frame, and their colours (point, 3) uint8.

    Raises:
        WriteError: if it cannot be written.
        MissingExtraError: without trimesh.
    """
    try:
        import trimesh
        from trimesh.exchange.gltf import export_glb
        from trimesh.scene import Camera as SceneCamera
        from trimesh.visual import TextureVisuals
        from trimesh.visual.material import PBRMaterial
    except ImportError as error:
        raise MissingExtraError("trimesh", "people", "Writing GLB files") from error
    focal = camera.intrinsics[[0, 1], [0, 1]].numpy()
    angles = np.degrees(2 * np.arctan(0.5 * np.array([size[1], size[0]]) / focal))
    seen_by = SceneCamera(name="camera", resolution=(size[1], size[0]), fov=angles)
    scene = trimesh.Scene(camera=seen_by, camera_transform=np.eye(4))
    for number, (body, color) in enumerate(zip(vertices, number_colours(len(vertices)), strict=True)):
        paint = PBRMaterial(baseColorFactor=[*color.tolist(), 255], roughnessFactor=0.8)
        mesh = trimesh.Trimesh(body * TO_GLTF, faces, visual=TextureVisuals(material=paint), process=False)
        scene.add_geometry(mesh, node_name=f"person_{number}", geom_name=f"person_{number}")
    if points is not None:
        cloud = trimesh.PointCloud(points[0] * TO_GLTF, colors=points[1])
        scene.add_geometry(cloud, node_name="points", geom_name="points")
    write_bytes(path, bytes(export_glb(scene)))
