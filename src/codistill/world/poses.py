"""Sample plausible poses of a few families (standing, walking, sitting, reaching, ...) within the limits of joints.

A body stands with x to its left, y to its back and z up. Rotations are Anny's `local-ref` parameters: they rotate about
those axes, which move with the parent joint. Angles are in degrees.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.geometry.rotations import rotation_from_vector
from codistill.world.shapes import rotation

Matrix = NDArray[np.float64]
SIDES = {"L": 1.0, "R": -1.0}

ARM_REST = {"L": np.array([0.64, -0.04, -0.77]), "R": np.array([-0.64, -0.04, -0.77])}
"""Direction of the upper arms in the reference pose."""

FORWARD = np.array([0.0, -1.0, 0.0])


@dataclass
class Pose:
    """Rotations by joint name, and whether the body sits.

    Attributes:
        family: a name of `FAMILIES`.
        joints: (3, 3) rotations by joint name; other joints keep their rest pose.
        seated: whether a seat must be placed under the pelvis.
    """

    family: str
    joints: dict[str, Matrix] = field(default_factory=dict)
    seated: bool = False

    def turn(self, joint: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        """Rotate a joint about its axes, in addition to its present rotation."""
        matrix = rotation("z", z) @ rotation("y", y) @ rotation("x", x)
        self.joints[joint] = self.joints.get(joint, np.eye(3)) @ matrix

    def matrices(self, names: tuple[str, ...]) -> Matrix:
        """Rotations of the named joints, (len(names), 3, 3)."""
        return np.stack([self.joints.get(name, np.eye(3)) for name in names])


def about(axis: NDArray[np.floating], degrees: float) -> Matrix:
    """Rotation (3, 3) about an axis."""
    vector = np.asarray(axis, np.float64) / np.linalg.norm(axis) * np.radians(degrees)
    return rotation_from_vector(torch.from_numpy(vector)).numpy()


def aligning(start: NDArray[np.floating], end: NDArray[np.floating]) -> Matrix:
    """The smallest rotation that maps the direction `start` to `end`."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-8:  # parallel: no axis
        return np.eye(3)
    return about(axis, float(np.degrees(np.arccos(np.clip(a @ b, -1, 1)))))


def arm(pose: Pose, side: str, towards: NDArray[np.floating], elbow: float, twist: float = 0.0) -> None:
    """Point an upper arm and bend its elbow.

    Args:
        towards: (3,) direction of the upper arm relative to the torso: outwards, backwards, up.
        elbow: bend in degrees, 0 for the reference pose.
        twist: rotation about the upper arm; positive values bring the forearm inwards.
    """
    sign = SIDES[side]
    rest = ARM_REST[side]
    target = np.array([sign * towards[0], towards[1], towards[2]])
    up = float(towards[2] / np.linalg.norm(towards))
    lift = 18.0 * max(0.0, up + 0.3)  # degrees, starting a little below the horizontal
    shoulder = rotation("y", -sign * lift)  # the clavicle rises with the arm
    pose.joints[f"clavicle.{side}"] = shoulder
    bend = about(np.cross(rest, FORWARD), elbow)  # flexes forwards
    pose.joints[f"upperarm01.{side}"] = shoulder.T @ aligning(rest, target) @ about(rest, sign * twist)
    pose.joints[f"lowerarm01.{side}"] = bend


def leg(pose: Pose, side: str, hip: float, knee: float, spread: float = 0.0, twist: float = 0.0) -> None:
    """Raise a thigh forwards by `hip`, bend the knee, spread the leg outwards, and turn the toes out by `twist`."""
    sign = SIDES[side]
    pose.turn(f"upperleg01.{side}", z=sign * twist)
    pose.joints[f"upperleg01.{side}"] = (
        rotation("y", -sign * spread) @ rotation("x", -hip) @ pose.joints[f"upperleg01.{side}"]
    )
    pose.turn(f"lowerleg01.{side}", x=knee)


def torso(pose: Pose, rng: np.random.Generator, bend: float = 0.0, free: float = 1.0) -> None:
    """Bend, lean and turn the spine, distributed over its joints; turn the head at random; curl the fingers."""
    lean, turn = rng.normal(0, 5) * free, rng.normal(0, 10) * free
    bend = bend + rng.normal(0, 4) * free
    for joint in ("spine05", "spine04", "spine03", "spine02", "spine01"):
        pose.turn(joint, x=bend / 5, y=lean / 5, z=turn / 5)  # a fifth for each of five joints
    nod, tilt, look = rng.normal(2, 9), rng.normal(0, 5), float(np.clip(rng.normal(0, 24), -60, 60))
    for joint, share in (("neck01", 0.25), ("neck02", 0.2), ("neck03", 0.2), ("head", 0.35)):
        pose.turn(joint, x=nod * share - bend * 0.12, y=tilt * share, z=look * share)  # undoes half the bend
    for side, sign in SIDES.items():
        curl = float(np.clip(rng.normal(18, 12), 0, 50))
        pose.turn(f"wrist.{side}", x=rng.normal(0, 8), y=sign * rng.normal(0, 8))
        for finger in (2, 3, 4, 5):
            for bone in (1, 2, 3):
                pose.joints[f"finger{finger}-{bone}.{side}"] = about(np.array([0.7, sign * 0.6, 0.0]), curl)


def hanging_arms(pose: Pose, rng: np.random.Generator) -> None:
    """Pose arms at rest: hanging, on the hips, or in front of the body."""
    for side in SIDES:
        kind = rng.choice(["hang", "hip", "bent"], p=[0.66, 0.14, 0.2])
        if kind == "hang":
            arm(
                pose,
                side,
                np.array([rng.uniform(0.14, 0.32), rng.uniform(-0.2, 0.12), -1.0]),
                rng.uniform(0, 30),
            )
        elif kind == "hip":
            arm(pose, side, np.array([0.75, 0.3, -0.75]), rng.uniform(72, 84), twist=rng.uniform(38, 50))
        else:
            out = np.array([rng.uniform(0.18, 0.35), rng.uniform(-0.35, 0.05), -0.9])
            arm(pose, side, out, rng.uniform(40, 95), twist=rng.uniform(-15, 15))


def standing(rng: np.random.Generator) -> Pose:
    pose = Pose("standing")
    torso(pose, rng)
    wide = rng.uniform(1, 9)
    for side in SIDES:
        bend = abs(rng.normal(0, 5))
        leg(pose, side, bend, 2 * bend, wide + rng.normal(0, 1), rng.uniform(0, 14))
    hanging_arms(pose, rng)
    return pose


def walking(rng: np.random.Generator) -> Pose:
    pose = Pose("walking")
    torso(pose, rng, bend=rng.uniform(0, 8), free=0.6)
    stride, lead = rng.uniform(14, 38), str(rng.choice(["L", "R"]))
    run = rng.random() < 0.25
    for side, sign in SIDES.items():
        front = side == lead
        leg(
            pose,
            side,
            stride if front else -0.6 * stride,
            rng.uniform(5, 14) if front else rng.uniform(15, 40) + (35 if run else 0),
            rng.uniform(0, 3),
            rng.uniform(0, 8),
        )
        swing = (-1.0 if front else 1.0) * np.tan(np.radians(stride))
        elbow = rng.uniform(60, 90) if run else rng.uniform(5, 35)
        arm(pose, side, np.array([rng.uniform(0.15, 0.28), -0.9 * swing, -1.0]), elbow)
        pose.turn(f"foot.{side}", x=-8.0 if front else 18.0, z=sign * 0.0)
    return pose


def sitting(rng: np.random.Generator) -> Pose:
    pose = Pose("sitting", seated=True)
    torso(pose, rng, bend=rng.uniform(-6, 16), free=0.7)
    for side in SIDES:
        hip = rng.uniform(78, 92)
        leg(pose, side, hip, hip + rng.uniform(-22, 12), rng.uniform(2, 14), rng.uniform(-4, 8))
    for side in SIDES:
        if rng.random() < 0.7:
            out = np.array([rng.uniform(0.2, 0.34), rng.uniform(-0.42, -0.15), -1.0])
            arm(pose, side, out, rng.uniform(20, 55))
        else:
            reach = np.array([rng.uniform(0.15, 0.6), rng.uniform(-1.0, -0.5), rng.uniform(-0.5, 0.4)])
            arm(pose, side, reach, rng.uniform(10, 60))
    return pose


def reaching(rng: np.random.Generator) -> Pose:
    pose = Pose("reaching")
    torso(pose, rng, bend=rng.uniform(-4, 24))
    wide = rng.uniform(3, 12)
    for side in SIDES:
        bend = abs(rng.normal(0, 8))
        leg(pose, side, bend, 2 * bend, wide, rng.uniform(0, 10))
    hanging_arms(pose, rng)
    for side in rng.permutation(list(SIDES))[: int(rng.integers(1, 3))]:
        direction = np.array([rng.uniform(-0.1, 0.9), rng.uniform(-1.0, -0.25), rng.uniform(-0.5, 0.9)])
        arm(pose, str(side), direction, rng.uniform(0, 45), twist=rng.uniform(-20, 20))
    return pose


def kneeling(rng: np.random.Generator) -> Pose:
    pose = Pose("kneeling")
    torso(pose, rng, bend=rng.uniform(-2, 14), free=0.6)
    lead = str(rng.choice(["L", "R"]))
    for side in SIDES:
        if side == lead:
            leg(pose, side, rng.uniform(82, 94), rng.uniform(80, 96), rng.uniform(2, 10), 2)
        else:
            leg(pose, side, rng.uniform(-6, 4), rng.uniform(88, 100), rng.uniform(0, 6), 0)
            pose.turn(f"foot.{side}", x=38.0)
    hanging_arms(pose, rng)
    return pose


def star(rng: np.random.Generator) -> Pose:
    pose = Pose("star")
    torso(pose, rng, free=0.6)
    wide, rise = rng.uniform(16, 26), rng.uniform(-0.1, 1.0)
    for side in SIDES:
        leg(pose, side, rng.uniform(-4, 8), rng.uniform(0, 10), wide, rng.uniform(0, 15))
        arm(
            pose,
            side,
            np.array([1.0, rng.uniform(-0.2, 0.1), rise + rng.normal(0, 0.12)]),
            rng.uniform(0, 25),
        )
    return pose


def lunge(rng: np.random.Generator) -> Pose:
    pose = Pose("lunge")
    torso(pose, rng, bend=rng.uniform(-4, 10), free=0.6)
    lead = str(rng.choice(["L", "R"]))
    for side in SIDES:
        if side == lead:
            leg(pose, side, rng.uniform(62, 76), rng.uniform(66, 82), rng.uniform(1, 6), 3)
        else:
            leg(pose, side, rng.uniform(-30, -20), rng.uniform(18, 34), rng.uniform(1, 6), 4)
            pose.turn(f"foot.{side}", x=24.0)
        arm(
            pose,
            side,
            np.array([rng.uniform(0.15, 0.9), rng.uniform(-0.8, 0.0), rng.uniform(-0.2, 1.2)]),
            rng.uniform(5, 40),
        )
    return pose


def balancing(rng: np.random.Generator) -> Pose:
    pose = Pose("balancing")
    torso(pose, rng, free=0.5)
    lifted = str(rng.choice(["L", "R"]))
    for side in SIDES:
        if side == lifted:
            leg(pose, side, rng.uniform(55, 90), rng.uniform(60, 110), rng.uniform(5, 20), rng.uniform(0, 15))
        else:
            leg(pose, side, rng.uniform(0, 4), rng.uniform(0, 8), 1, rng.uniform(0, 6))
        arm(
            pose,
            side,
            np.array([rng.uniform(0.6, 1.0), rng.uniform(-0.4, 0.0), rng.uniform(-0.3, 0.7)]),
            rng.uniform(0, 30),
        )
    return pose


FAMILIES: dict[str, Callable[[np.random.Generator], Pose]] = {
    "standing": standing,
    "walking": walking,
    "sitting": sitting,
    "reaching": reaching,
}
"""Families of poses in all splits."""

NOVEL_FAMILIES: dict[str, Callable[[np.random.Generator], Pose]] = {
    "kneeling": kneeling,
    "star": star,
    "lunge": lunge,
    "balancing": balancing,
}
"""Families of poses in the test split only."""

ODDS = {"standing": 0.34, "walking": 0.24, "sitting": 0.2, "reaching": 0.22}


def draw_pose(rng: np.random.Generator, novel: bool) -> Pose:
    """Draw a pose; `novel` ones are of families that training never shows."""
    if novel:
        return NOVEL_FAMILIES[str(rng.choice(list(NOVEL_FAMILIES)))](rng)
    return FAMILIES[str(rng.choice(list(FAMILIES), p=[ODDS[f] for f in FAMILIES]))](rng)
