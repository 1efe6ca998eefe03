"""Whether a posed body runs into itself: arm and leg vertices inside the rest of it, by rays through Embree."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats, face_normals
from codistill.render.trace import Tracer

TOLERANCE = 0.03
"""Share of a limb's vertices that may lie inside the rest of the body (hands touch, sleeves press)."""

FOREARM = ("lowerarm", "wrist", "finger", "metacarpal")
ARM = (*FOREARM, "upperarm", "clavicle", "shoulder")
SHIN = ("lowerleg", "foot")
LEG = (*SHIN, "upperleg", "toe")
FINE = ("head", "eye", "neck03", "foot", "toe")
"""Parts of many small triangles that arms hardly ever run into: left out, for speed."""


def self_penetration(
    posed: Floats, faces: NDArray[np.int32], owner: NDArray[np.int64], names: tuple[str, ...]
) -> float:
    """The largest share of the vertices of a forearm inside trunk and legs, or of a shin inside the other leg.

    Args:
        posed: (V, 3) metres. owner: (V,) joint numbers. names: of the joints.
    """
    forearm, arm, shin, leg, fine = (
        np.array([name.startswith(part) for name in names])[owner] for part in (FOREARM, ARM, SHIN, LEG, FINE)
    )
    left, right = (np.array([name.endswith(side) for name in names])[owner] for side in (".L", ".R"))
    trunk = Solid(posed, faces[~(arm | fine)[faces].any(axis=1)])
    shares = [trunk.contains(posed[np.flatnonzero(forearm & side)[::9]]).mean() for side in (left, right)]
    other = Solid(posed, faces[(leg & right & ~fine)[faces].all(axis=1)])
    shares.append(other.contains(posed[np.flatnonzero(shin & left)[::9]]).mean())
    return float(max(shares))


class Solid:
    """The inside of a mesh (vertices (V, 3), faces (F, 3)) that is closed but for where limbs were taken off."""

    def __init__(self, vertices: Floats, faces: NDArray[np.int32]) -> None:
        used, compact = np.unique(faces, return_inverse=True)
        vertices, faces = vertices[used], compact.reshape(-1, 3).astype(np.int32)
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
