"""Whether a posed body runs into itself: arm and leg vertices inside the rest of it, by rays through Embree."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats, face_normals
from codistill.render.trace import Tracer

TOLERANCE = 0.03
"""Share of a limb's vertices that may lie inside the rest of the body (hands touch, sleeves press)."""

LIMBS = {
    "left arm": ("lowerarm01.L", "lowerarm02.L", "wrist.L", "finger", "metacarpal"),
    "right arm": ("lowerarm01.R", "lowerarm02.R", "wrist.R", "finger", "metacarpal"),
    "left shin": ("lowerleg01.L", "lowerleg02.L", "foot.L"),
    "right shin": ("lowerleg01.R", "lowerleg02.R", "foot.R"),
}
NEAR = {
    "arm": ("upperarm", "lowerarm", "wrist", "finger", "metacarpal", "clavicle", "shoulder"),
    "shin": ("upperleg", "lowerleg", "foot", "toe"),
}
"""Parts that are a limb's own, by the second word of its name: on its side they are not in its way."""


def self_penetration(posed: Floats, faces: NDArray[np.int32], owner: NDArray[np.str_]) -> float:
    """The largest share, over arms and shins, of vertices that lie inside the rest of the body.

    Args:
        posed: (V, 3) metres. owner: (V,) joint names.
    """
    worst = 0.0
    for limb, prefixes in LIMBS.items():
        side, kind = ("L" if limb.startswith("left") else "R"), limb.split()[1]
        ends = np.char.endswith(owner, f".{side}")
        mine = ends & np.any([np.char.startswith(owner, p) for p in prefixes], axis=0)
        own = ends & np.any([np.char.startswith(owner, p) for p in NEAR[kind]], axis=0)
        others = faces[~own[faces].any(axis=1)]
        points = posed[np.flatnonzero(mine)[::9]]
        worst = max(worst, float(inside(points, posed, others).mean()))
    return worst


def inside(points: Floats, vertices: Floats, faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(N,) whether points lie inside a mesh: in two of three directions the first face is seen from behind."""
    tracer = Tracer(vertices, faces)
    normals = face_normals(vertices, faces)
    votes = np.zeros(len(points), np.int64)
    for direction in ((0.31, 0.83, 0.46), (-0.71, -0.52, 0.47), (0.12, -0.65, -0.75)):
        rays = np.tile(np.asarray(direction, np.float32), (len(points), 1))
        hits = tracer.first_hits(points, rays)
        behind = (hits.face >= 0) & (normals[np.maximum(hits.face, 0)] @ np.asarray(direction, np.float32) > 0)
        votes += behind
    return votes >= 2
