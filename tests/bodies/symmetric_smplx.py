"""A file of SMPL-X's layout whose body is symmetric: vertices, skinning and landmarks come in mirrored pairs."""

from pathlib import Path

import numpy as np
from test_smplx import PARENTS

from codistill.bodies.smplx import SKELETON

HALF = 80
MIRROR = np.array([-1.0, 1.0, 1.0])


def other_side(name: str) -> str:
    for one, other in (("left", "right"), ("right", "left")):
        if name.startswith(f"{one}_"):
            return other + name[len(one) :]
    return name


def landmark_pairs(count: int = 51) -> list[int]:
    """Which of the 51 landmarks of the face (68 without the contour) is on the other side."""
    pairs = list(range(count))
    twins = [(i, 9 - i) for i in range(5)] + [(14, 18), (15, 17)]  # brows, nostrils
    twins += [(19, 28), (20, 27), (21, 26), (22, 25), (23, 30), (24, 29)]  # eyes
    twins += [(31, 37), (32, 36), (33, 35), (38, 42), (39, 41), (43, 47), (44, 46), (48, 50)]  # mouth
    for one, other in twins:
        pairs[one], pairs[other] = other, one
    return pairs


def write_symmetric(file: Path, seed: int = 0, noise: float = 0.0) -> None:
    """Write it; `noise` metres shift every vertex, as published templates are symmetric to some mm only."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(HALF, 3)) * [0.3, 0.6, 0.1]
    half[:, 0] = np.abs(half[:, 0]) + 0.02
    template = np.concatenate([half, half * MIRROR])
    swap = np.r_[np.arange(HALF, 2 * HALF), np.arange(HALF)]
    twin = np.array([SKELETON.index(other_side(name)) for name in SKELETON])
    skinning = rng.random((2 * HALF, 55)) * (rng.random((2 * HALF, 55)) < 0.1) + 1e-9
    skinning = skinning + skinning[swap][:, twin]
    regressor = rng.random((55, 2 * HALF)) * (rng.random((55, 2 * HALF)) < 0.2) + 1e-6
    regressor = regressor + regressor[twin][:, swap]
    shapes = rng.normal(size=(2 * HALF, 3, 400)) * 0.01
    triangles = np.stack([np.arange(i, i + 3) % HALF for i in range(HALF)])
    pairs = landmark_pairs()
    chosen, weights = np.zeros(51, int), np.tile([1.0, 0.0, 0.0], (51, 1))
    for i, other in enumerate(pairs):
        if other > i:
            chosen[i] = rng.integers(HALF)
            chosen[other] = chosen[i] + HALF
            weights[i] = weights[other] = rng.dirichlet(np.ones(3))
    midline = [i for i, other in enumerate(pairs) if other == i]
    faces = np.concatenate([triangles, triangles + HALF])
    across = np.array([[i, i + HALF, i] for i in range(len(midline))])
    for n, i in enumerate(midline):
        chosen[i], weights[i] = len(faces) + n, (0.5, 0.5, 0.0)
    template = template + noise * rng.normal(size=template.shape)
    np.savez(
        file,
        v_template=template,
        shapedirs=shapes + shapes[swap] * MIRROR[:, None],
        posedirs=np.zeros((2 * HALF, 3, 486)),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        kintree_table=np.array([PARENTS, range(55)]).astype(np.int64).astype(np.uint32),
        weights=skinning / skinning.sum(1, keepdims=True),
        f=np.concatenate([faces, across]).astype(np.uint32),
        lmk_faces_idx=chosen,
        lmk_bary_coords=weights,
    )
