"""Create people before they are placed: draw phenotypes and poses, call Anny once for all, add clothes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.bodies.anny import PHENOTYPES, AnnyBody
from codistill.render.camera import Camera
from codistill.render.mesh import Floats
from codistill.render.scene import Item
from codistill.world.dress import Anatomy, dress
from codistill.world.identity import SceneId
from codistill.world.looks import Palette
from codistill.world.penetration import TOLERANCE, coarse_faces, self_penetration
from codistill.world.poses import Pose, draw_pose
from codistill.world.shapes import rotation

COARSE = 0.025
"""Cell size in metres of the coarse triangles (an eighth of all) for penetration tests and silhouettes."""

CELLS = (0.005, 0.007, 0.01, 0.014, 0.02)
"""Cell sizes in metres of the rendered triangles, which are chosen by distance."""

ROUNDS, CANDIDATES = 3, 2
"""Number of rounds in which new poses are drawn for bodies that penetrate themselves, and poses per round."""


@dataclass(frozen=True)
class Person:
    """A posed body, upright, with its pelvis at the origin, facing -y.

    Attributes:
        phenotypes: (6,) in [0, 1], in the order of `PHENOTYPES`.
        rotations: (n_rot, 3, 3); that of the root is the identity.
        pose: the pose, with its family and whether it sits.
        vertices, joints: (V, 3) and (J, 3) in metres, the pelvis at the origin.
        anatomy: the body in its rest pose, for the clothes.
        penetration: the largest share of a limb that is inside the rest of the body.
    """

    phenotypes: NDArray[np.float32]
    rotations: NDArray[np.float32]
    pose: Pose
    vertices: Floats
    joints: Floats
    anatomy: Anatomy
    penetration: float

    @property
    def floor(self) -> float:
        """Height of the lowest point relative to the pelvis (negative)."""
        return float(self.vertices[:, 2].min())

    def placed(
        self, x: float, y: float, turn: float
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
        """Vertices, root rotation (3, 3) and pelvis (3,) in the world, for the body at (x, y), rotated about z."""
        root = rotation("z", turn)
        pelvis = np.array([x, y, -self.floor])
        return (self.vertices @ root.T + pelvis).astype(np.float32), root, pelvis

    def items(
        self,
        vertices: Floats,
        faces: NDArray[np.int32],
        rng: np.random.Generator,
        palette: Palette,
        instance: int,
        novel: bool,
    ) -> list[Item]:
        """Items of the dressed body at the given vertices, with triangles from `body_faces`."""
        return dress(self.anatomy, vertices, faces, rng, palette, instance, novel)


def draw_phenotypes(rng: np.random.Generator, novel: bool) -> NDArray[np.float32]:
    """Draw phenotypes (6,) in [0, 1]; `novel` ones have a weight, height or muscle beyond those of training."""
    band = float(rng.choice([0.2, 0.42, 0.66, 0.9], p=[0.12, 0.16, 0.48, 0.24]))
    values = {
        "gender": float(rng.beta(0.4, 0.4)),
        "age": float(np.clip(band + rng.uniform(-0.1, 0.1), 0.1, 1.0)),
        "muscle": float(rng.uniform(0.15, 0.85)),
        "weight": float(rng.uniform(0.15, 0.85)),
        "height": float(rng.uniform(0.2, 0.8)),
        "proportions": float(rng.uniform(0.15, 0.9)),
    }
    if novel:
        which = str(rng.choice(["weight", "height", "muscle"]))
        values[which] = float(rng.uniform(0.9, 1.0) if rng.random() < 0.6 else rng.uniform(0.0, 0.1))
    return np.array([values[name] for name in PHENOTYPES], np.float32)


def draw_people(scene_id: SceneId, rng: np.random.Generator, count: int, body: AnnyBody) -> list[Person]:
    """Draw `count` people; none penetrates itself beyond the tolerance, unless no better pose was found."""
    shapes = [draw_phenotypes(rng, scene_id.novel(rng)) for _ in range(count)]
    novel = [scene_id.novel(rng) for _ in range(count)]
    names, owner = body.joint_names, body.dominant_joint().numpy()
    faces, coarse = body_faces(body), body_faces(body, COARSE)
    rests: list[tuple[Floats, Floats, NDArray[np.float32]]] = []
    best: dict[int, Person] = {}

    def open_ones() -> list[int]:
        return [k for k in range(count) if k not in best or best[k].penetration > TOLERANCE]

    for _ in range(ROUNDS):
        tries = {k: [draw_pose(rng, novel[k]) for _ in range(CANDIDATES)] for k in open_ones()}
        for turn in range(CANDIDATES):
            now = open_ones()
            if not now:
                break
            poses, own = [tries[k][turn] for k in now], [shapes[k] for k in now]
            if not rests:  # rest poses are added to the first call, since a call costs as much as two bodies
                poses, own = [Pose("rest")] * count + poses, shapes + own
            posed = _posed(body, poses, own)
            rests, posed = rests or posed[:count], posed[-len(now) :]
            for k, (vertices, joints, rotations) in zip(now, posed, strict=True):
                amount = self_penetration(vertices, coarse, owner, names)
                if k not in best or amount < best[k].penetration:
                    rest, rest_joints, _ = rests[k]
                    named = {name: rest_joints[i] for i, name in enumerate(names)}
                    anatomy = Anatomy(faces, rest, owner, names, named)
                    best[k] = Person(shapes[k], rotations, tries[k][turn], vertices, joints, anatomy, amount)
    return [best[k] for k in range(count)]


@lru_cache(maxsize=8)
def body_faces(body: AnnyBody, cell: float = 0.0) -> NDArray[np.int32]:
    """A body's triangles; fewer and larger ones if `cell` (metres on a body of average size) is positive."""
    faces = body.faces.numpy().astype(np.int32)
    if not cell:
        return faces
    middle = np.full(len(PHENOTYPES), 0.5, np.float32)
    rest, _, _ = _posed(body, [Pose("rest")], [middle])[0]
    return coarse_faces(rest, faces, body.dominant_joint().numpy(), cell)


def faces_for(body: AnnyBody, vertices: Floats, camera: Camera) -> NDArray[np.int32]:
    """The coarsest triangles whose cells are smaller than a pixel of the camera everywhere on the body."""
    depth = (vertices - camera.position) @ camera.pose[:3, 2].astype(np.float32)
    pixel = float(depth.min()) / float(camera.intrinsics[0, 0])
    return body_faces(body, max((cell for cell in CELLS if cell <= pixel), default=0.0))


def _posed(
    body: AnnyBody, poses: list[Pose], shapes: list[NDArray[np.float32]]
) -> list[tuple[Floats, Floats, NDArray[np.float32]]]:
    """Compute vertices, joints and rotations of several bodies in one call of the body model."""
    rotations = np.stack([pose.matrices(body.rotation_names) for pose in poses]).astype(np.float32)
    with torch.inference_mode():
        vertices, joints = body.pose(torch.from_numpy(rotations), torch.from_numpy(np.stack(shapes)))
    return list(zip(vertices.numpy(), joints.numpy(), rotations, strict=True))
