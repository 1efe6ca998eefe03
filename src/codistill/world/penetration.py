"""Measure self-penetration of a posed body: arm and leg vertices inside the rest of the body, by ray casting."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats, compact, face_normals
from codistill.render.trace import Tracer

TOLERANCE = 0.03
"""Allowed share of a limb's vertices inside the rest of the body (hands touch it, sleeves press on it)."""

FOREARM = ("lowerarm", "wrist", "finger", "metacarpal")
ARM = (*FOREARM, "upperarm", "clavicle", "shoulder")
SHIN = ("lowerleg", "foot")
LEG = (*SHIN, "upperleg", "toe")


def coarse_faces(
    rest: Floats, faces: NDArray[np.int32], owner: NDArray[np.int64], cell: float = 0.025
) -> NDArray[np.int32]:
    """Fewer, larger triangles (F', 3) of a body: vertices of one joint within one cell of the rest pose are merged.

    The triangles index the body's own vertices.

    Args:
        rest: (V, 3), in metres.
        owner: (V,) indices of joints; vertices of different joints are not merged, even if they touch.
        cell: cell size in metres.
    """
    keys = np.column_stack([owner, np.floor(rest / cell).astype(np.int64)])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    center = np.stack([np.bincount(group, rest[:, k]) / count for k in range(3)], axis=1)
    order = np.lexsort((((rest - center[group]) ** 2).sum(axis=1), group))
    nearest = order[np.unique(group[order], return_index=True)[1]]
    merged = nearest[group][faces]
    a, b, c = merged.T
    return np.unique(merged[(a != b) & (b != c) & (c != a)], axis=0).astype(np.int32)


def self_penetration(
    posed: Floats, faces: NDArray[np.int32], owner: NDArray[np.int64], names: tuple[str, ...]
) -> float:
    """Largest share of vertices of a forearm inside trunk, head and legs, or of the left shin inside the right leg.

    Args:
        posed: (V, 3), in metres.
        owner: (V,) indices of joints.
        names: names of the joints.
    """
    forearm, arm, shin, leg = (
        np.array([name.startswith(part) for name in names])[owner] for part in (FOREARM, ARM, SHIN, LEG)
    )
    left, right = (np.array([name.endswith(side) for name in names])[owner] for side in (".L", ".R"))
    trunk = Solid(posed, faces[~arm[faces].any(axis=1)])
    shares = [trunk.contains(posed[np.flatnonzero(forearm & side)[::9]]).mean() for side in (left, right)]
    other = Solid(posed, faces[(leg & right)[faces].all(axis=1)])
    shares.append(other.contains(posed[np.flatnonzero(shin & left)[::9]]).mean())
    return float(max(shares))


class Solid:
    """The inside of a mesh (vertices (V, 3), faces (F, 3)) that is closed except where limbs were removed."""

    def __init__(self, vertices: Floats, faces: NDArray[np.int32]) -> None:
        used, faces = compact(faces, len(vertices))
        vertices = vertices[used]
        self._tracer = Tracer(vertices, faces)
        self._normals = face_normals(vertices, faces)

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """(N,) whether points (N, 3) are inside: in two of three directions the first hit face is seen from behind."""
        votes = np.zeros(len(points), np.int64)
        for direction in ((0.31, 0.83, 0.46), (-0.71, -0.52, 0.47), (0.12, -0.65, -0.75)):
            ray = np.asarray(direction, np.float32)
            hits = self._tracer.first_hits(points, np.tile(ray, (len(points), 1)))
            votes += (hits.face >= 0) & (self._normals[np.maximum(hits.face, 0)] @ ray > 0)
        return votes >= 2
