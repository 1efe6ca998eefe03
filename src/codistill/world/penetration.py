"""Whether a posed body runs into itself: arm and leg vertices inside the rest of it, by rays through Embree."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats, compact, face_normals
from codistill.render.trace import Tracer

TOLERANCE = 0.03
"""Share of a limb's vertices that may lie inside the rest of the body (hands touch, sleeves press)."""

FOREARM = ("lowerarm", "wrist", "finger", "metacarpal")
ARM = (*FOREARM, "upperarm", "clavicle", "shoulder")
SHIN = ("lowerleg", "foot")
LEG = (*SHIN, "upperleg", "toe")


def coarse_faces(
    rest: Floats, faces: NDArray[np.int32], owner: NDArray[np.int64], cell: float = 0.025
) -> NDArray[np.int32]:
    """Fewer, larger triangles (F', 3) of a body: vertices of one joint and one cell of the rest pose become one.

    Args:
        rest: (V, 3) metres. owner: (V,) joint numbers: parts that only touch are not merged.
        cell: metres. The numbers are still those of the body's own vertices.
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
    """The largest share of the vertices of a forearm inside trunk, head and legs, or of a shin inside the other leg.

    Args:
        posed: (V, 3) metres. owner: (V,) joint numbers. names: of the joints.
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
    """The inside of a mesh (vertices (V, 3), faces (F, 3)) that is closed but for where limbs were taken off."""

    def __init__(self, vertices: Floats, faces: NDArray[np.int32]) -> None:
        used, faces = compact(faces, len(vertices))
        vertices = vertices[used]
        self._tracer = Tracer(vertices, faces)
        self._normals = face_normals(vertices, faces)

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """(N,) whether points (N, 3) lie inside: in two of three directions the first face is seen from behind."""
        votes = np.zeros(len(points), np.int64)
        for direction in ((0.31, 0.83, 0.46), (-0.71, -0.52, 0.47), (0.12, -0.65, -0.75)):
            ray = np.asarray(direction, np.float32)
            hits = self._tracer.first_hits(points, np.tile(ray, (len(points), 1)))
            votes += (hits.face >= 0) & (self._normals[np.maximum(hits.face, 0)] @ ray > 0)
        return votes >= 2
