"""People before they meet a camera: phenotypes and poses drawn, Anny asked once for all of them, clothes put on."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.bodies.anny import PHENOTYPES, AnnyBody
from codistill.render.mesh import Floats
from codistill.render.scene import Item
from codistill.world.dress import Anatomy, dress
from codistill.world.identity import SceneId
from codistill.world.looks import Palette
from codistill.world.penetration import TOLERANCE, coarse_faces, self_penetration
from codistill.world.poses import Pose, draw_pose
from codistill.world.shapes import rotation

CANDIDATES = 2
"""Poses tried per person in one call of the body model."""


@dataclass(frozen=True)
class Person:
    """A posed body about its pelvis, upright, facing -y.

    Attributes:
        phenotypes: (6,) in [0, 1], in the order of `PHENOTYPES`.
        rotations: (n_rot, 3, 3), the root's is the identity.
        pose: the family it was drawn from, and whether it sits.
        vertices, joints: (V, 3), (J, 3) metres, the pelvis at the origin.
        anatomy: for the clothes.
        penetration: the largest share of a limb inside the rest of the body.
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
        """Height of the lowest point below the pelvis (negative)."""
        return float(self.vertices[:, 2].min())

    def placed(
        self, x: float, y: float, turn: float
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
        """Vertices in the world, the root rotation (3, 3) and the pelvis (3,), standing at (x, y), turned about z."""
        root = rotation("z", turn)
        pelvis = np.array([x, y, -self.floor])
        return (self.vertices @ root.T + pelvis).astype(np.float32), root, pelvis

    def items(
        self, vertices: Floats, rng: np.random.Generator, palette: Palette, instance: int, novel: bool
    ) -> list[Item]:
        """The dressed body at the given vertices."""
        return dress(self.anatomy, vertices, rng, palette, instance, novel)


def draw_phenotypes(rng: np.random.Generator, novel: bool) -> NDArray[np.float32]:
    """(6,) in [0, 1]: all ages and builds; `novel` ones go beyond the weight, height or muscle of training."""
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
    """`count` people, none of whom runs into itself by more than the tolerance (or the best that was found)."""
    shapes = [draw_phenotypes(rng, scene_id.novel(rng)) for _ in range(count)]
    novel = [scene_id.novel(rng) for _ in range(count)]
    names, owner = body.joint_names, body.dominant_joint().numpy()
    faces, coarse = body.faces.numpy().astype(np.int32), coarse_body(body)
    rests = _posed(body, [Pose("rest")] * count, shapes)
    best: dict[int, Person] = {}
    for _ in range(3):
        open_ones = [k for k in range(count) if k not in best or best[k].penetration > TOLERANCE]
        tries = [(k, draw_pose(rng, novel[k])) for k in open_ones for _ in range(CANDIDATES)]
        if not tries:
            break
        posed = _posed(body, [pose for _, pose in tries], [shapes[k] for k, _ in tries])
        for (k, pose), (vertices, joints, rotations) in zip(tries, posed, strict=True):
            if k in best and best[k].penetration <= TOLERANCE:
                continue
            amount = self_penetration(vertices, coarse, owner, names)
            if k not in best or amount < best[k].penetration:
                rest, rest_joints, _ = rests[k]
                named = {name: rest_joints[i] for i, name in enumerate(names)}
                anatomy = Anatomy(faces, rest, owner, names, named)
                best[k] = Person(shapes[k], rotations, pose, vertices, joints, anatomy, amount)
    return [best[k] for k in range(count)]


@lru_cache(maxsize=1)
def coarse_body(body: AnnyBody) -> NDArray[np.int32]:
    """A body's triangles, an eighth of them, for what needs no detail: penetration and silhouettes."""
    middle = np.full(len(PHENOTYPES), 0.5, np.float32)
    rest, _, _ = _posed(body, [Pose("rest")], [middle])[0]
    return coarse_faces(rest, body.faces.numpy().astype(np.int32), body.dominant_joint().numpy())


def _posed(
    body: AnnyBody, poses: list[Pose], shapes: list[NDArray[np.float32]]
) -> list[tuple[Floats, Floats, NDArray[np.float32]]]:
    """Vertices, joints and rotations of several bodies, asked for at once."""
    rotations = np.stack([pose.matrices(body.rotation_names) for pose in poses]).astype(np.float32)
    with torch.inference_mode():
        vertices, joints = body.pose(torch.from_numpy(rotations), torch.from_numpy(np.stack(shapes)))
    return list(zip(vertices.numpy(), joints.numpy(), rotations, strict=True))
