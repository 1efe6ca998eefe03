"""A scene to render: items (mesh, material, label, instance), lights and a sky, merged into flat arrays.

The merged scene stores all attributes per face, so that one lookup per attribute serves all hits of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.lights import Light, Sky
from codistill.render.materials import Material
from codistill.render.mesh import Floats, Ints, Mesh, corner_normals, face_normals
from codistill.render.trace import Tracer


@dataclass(frozen=True)
class Item:
    """A mesh in the world with one material.

    Attributes:
        mesh: the mesh in world coordinates.
        label: semantic class.
        instance: number of its thing; 0 for the surroundings.
        local: (V, 3) metres, positions of the vertices in the texture; None for their positions in the world.
        normals: (F, 3, 3) at the corners; None to compute them from the mesh.
    """

    mesh: Mesh
    material: Material
    label: int
    instance: int = 0
    local: Floats | None = None
    normals: Floats | None = None


@dataclass(frozen=True)
class Scene:
    """All items, lights and the sky of a picture.

    Attributes:
        items, lights, sky: see the classes.
        ambient: linear RGB added to the light that reaches every surface from a distance, for closed rooms.
        reach: distance in metres beyond which a wall counts as a distant light in the indirect light.
    """

    items: Sequence[Item]
    lights: Sequence[Light]
    sky: Sky
    ambient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reach: float = 1.0


class MergedScene:
    """A scene's items as flat arrays, with the ray tracer over them.

    Attributes:
        normals, locals: (F, 3, 3) at the corners of each face.
        axis: (F,) the axis along which a face is projected onto its texture plane.
        material, label, instance: (F,) per face.
        mean_color: (M, 3) mean linear colour of each material.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.materials: list[Material] = []
        index_of: dict[int, int] = {}
        vertices, faces, normals, local, axis = [], [], [], [], []
        material: list[NDArray[np.int16]] = []
        label: list[NDArray[np.uint8]] = []
        instance: list[Ints] = []
        start = 0
        for item in scene.items:
            mesh = item.mesh
            if id(item.material) not in index_of:
                index_of[id(item.material)] = len(self.materials)
                self.materials.append(item.material)
            vertices.append(mesh.vertices)
            faces.append(mesh.faces + start)
            start += len(mesh.vertices)
            normals.append(corner_normals(mesh) if item.normals is None else item.normals)
            place = mesh.vertices if item.local is None else item.local
            local.append(place[mesh.faces])
            axis.append(np.abs(face_normals(place, mesh.faces)).argmax(axis=1))
            count = len(mesh.faces)
            material.append(np.full(count, index_of[id(item.material)], np.int16))
            label.append(np.full(count, item.label, np.uint8))
            instance.append(np.full(count, item.instance, np.int32))
        self.vertices: Floats = np.concatenate(vertices).astype(np.float32)
        self.faces: Ints = np.concatenate(faces).astype(np.int32)
        self.normals: Floats = np.concatenate(normals).astype(np.float32)
        self.locals: Floats = np.concatenate(local).astype(np.float32)
        self.axis: NDArray[np.int8] = np.concatenate(axis).astype(np.int8)
        self.material = np.concatenate(material)
        self.label = np.concatenate(label)
        self.instance = np.concatenate(instance)
        self.mean_color = np.asarray([m.mean_color for m in self.materials], np.float32)
        self.emission = np.asarray([m.emission for m in self.materials], np.float32)
        self.tracer = Tracer(self.vertices, self.faces)
