"""Ray queries with Embree: origins and directions (N, 3) in, first hits or visibility out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codistill.errors import MissingExtraError
from codistill.render.mesh import Floats, Ints

FAR = np.float32(1e5)


@dataclass(frozen=True)
class Hits:
    """First hits of N rays.

    Attributes:
        face: (N,) index of the face; -1 where the ray leaves the scene.
        distance: (N,) along the direction, in units of its length; inf where nothing is hit.
        u, v: (N,) barycentric weights of the second and third corner.
    """

    face: Ints
    distance: Floats
    u: Floats
    v: Floats


def _embree() -> tuple[Any, Any]:
    try:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh
    except ImportError as error:
        raise MissingExtraError("embreex", "world", "Rendering the embedded world") from error
    return rtcore_scene, TriangleMesh


class Tracer:
    """Triangles (vertices (V, 3), faces (F, 3)) in an Embree scene."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        rtcore_scene, triangle_mesh = _embree()
        self._scene = rtcore_scene.EmbreeScene(robust=True)
        self._vertices = np.ascontiguousarray(vertices, np.float32)
        self._faces = np.ascontiguousarray(faces, np.int32)
        self._mesh = triangle_mesh(self._scene, self._vertices, self._faces)

    def first_hits(self, origins: Floats, directions: Floats) -> Hits:
        """The first face along each ray."""
        result = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=True,
        )
        face = result["primID"]
        missed = face < 0
        return Hits(face, np.where(missed, np.float32(np.inf), result["tfar"]), result["u"], result["v"])

    def blocked(self, origins: Floats, directions: Floats, reach: Floats | None = None) -> NDArray[np.bool_]:
        """Whether anything lies within `reach` (N,) along each ray; None for any distance."""
        reach = np.full(len(origins), FAR, np.float32) if reach is None else reach
        result = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            dists=np.ascontiguousarray(reach, np.float32),
            query="OCCLUDED",
        )
        return np.asarray(result) >= 0
