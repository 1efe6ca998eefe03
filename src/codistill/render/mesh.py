"""Triangle meshes, which world and bodies pass to the renderer, and smooth normals with creases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Arrays of floats: single precision in computations, although inputs may be double."""
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh with smooth or flat normals.

    Attributes:
        vertices: (V, 3) in metres, with x and y horizontal and z up.
        faces: (F, 3) indices, counter-clockwise seen from outside.
        smooth: interpolate normals across edges flatter than the crease angle.
    """

    vertices: Floats
    faces: Ints
    smooth: bool = True

    def transformed(self, matrix: NDArray[np.floating]) -> "Mesh":
        """The mesh transformed by a 3×3 or 4×4 matrix; faces are flipped if the matrix mirrors."""
        matrix = np.asarray(matrix, np.float64)
        moved = self.vertices @ matrix[:3, :3].T
        if matrix.shape == (4, 4):
            moved = moved + matrix[:3, 3]
        faces = self.faces if np.linalg.det(matrix[:3, :3]) > 0 else self.faces[:, ::-1]
        return Mesh(moved.astype(np.float32), np.ascontiguousarray(faces), self.smooth)


def compact(faces: Ints, count: int) -> tuple[NDArray[np.intp], Ints]:
    """Indices of those of `count` vertices that faces (F, 3) use, ascending, and the faces re-indexed to them."""
    used = np.zeros(count, bool)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used, dtype=np.int32) - 1)[faces]


def face_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals (F, 3) of faces."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return unit(cross(b - a, c - a).astype(np.float32))


def cross(a: Floats, b: Floats) -> Floats:
    """Cross products (N, 3) of rows; on short arrays several times faster than `numpy.cross`."""
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out


def unit(vectors: Floats) -> Floats:
    """Vectors (N, 3) divided by their length; zero stays zero."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[:, None].astype(np.float32)


def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Unit normals (vertex, 3), averaged over faces with their areas as weights."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    weighted = np.repeat(cross(b - a, c - a), 3, axis=0)
    flat = faces.ravel()
    sums = [np.bincount(flat, weighted[:, axis], len(vertices)) for axis in range(3)]
    return unit(np.stack(sums, axis=1).astype(np.float32))


def corner_normals(mesh: Mesh, crease_degrees: float = 40.0) -> Floats:
    """Normals (F, 3, 3) at the corners of each face.

    In smooth meshes, a corner has the average normal of the faces around its vertex, weighted by area. If its own face
    deviates from that average by more than the crease angle, it has the normal of its face.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    weighted = cross(b - a, c - a).astype(np.float32)
    flat = unit(weighted)
    corners = np.repeat(flat[:, None], 3, axis=1)
    if not mesh.smooth:
        return corners
    count = len(mesh.vertices)
    flat_index = mesh.faces.ravel()
    total = np.stack(
        [np.bincount(flat_index, np.repeat(weighted[:, axis], 3), count) for axis in range(3)], axis=1
    )
    average = unit(total.astype(np.float32))[mesh.faces]
    keep = np.einsum("fck,fck->fc", average, corners) > np.cos(np.radians(crease_degrees))
    return np.where(keep[..., None], average, corners)
