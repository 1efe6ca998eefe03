"""Skin, hair and clothes of a body: shells of its own triangles at a distance from the skin, each with a material.

Regions are determined from the rest pose (heights, distance along the arm) and from the joint with the largest weight
on a vertex.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.materials import Material
from codistill.render.mesh import Floats, Mesh, compact, vertex_normals
from codistill.render.scene import Item
from codistill.world.categories.parts import chance
from codistill.world.classes import CLASS_INDEX, PERSON
from codistill.world.looks import UNSEEN_PATTERNS, Palette, contrasting, linear

SKIN_TONES = (
    (0.9, 0.75, 0.66),
    (0.86, 0.67, 0.54),
    (0.83, 0.62, 0.46),
    (0.68, 0.47, 0.33),
    (0.5, 0.33, 0.23),
    (0.34, 0.22, 0.16),
)
HAIR_TONES = (
    (0.08, 0.06, 0.05),
    (0.2, 0.13, 0.08),
    (0.36, 0.23, 0.13),
    (0.62, 0.45, 0.25),
    (0.85, 0.72, 0.45),
    (0.55, 0.25, 0.12),
    (0.75, 0.74, 0.72),
)
CLOTH_PATTERNS = (
    "plain",
    "plain",
    "plain",
    "stripes",
    "dots",
    "weave",
    "checks",
    "patches",
    "zigzag",
    "marble",
)


@dataclass(frozen=True)
class Anatomy:
    """A body in its rest pose, for dressing.

    Attributes:
        faces: (F, 3) triangles.
        rest: (V, 3) vertices of this body in its rest pose.
        owner: (V,) index of the joint with the largest weight on each vertex.
        names: names of the joints.
        joints: rest position (3,) by joint name.
    """

    faces: NDArray[np.int32]
    rest: Floats
    owner: NDArray[np.int64]
    names: tuple[str, ...]
    joints: dict[str, NDArray[np.floating]]

    def belongs(self, *prefixes: str) -> NDArray[np.bool_]:
        """(V,) whether the owner's name starts with one of the prefixes."""
        return np.array([name.startswith(prefixes) for name in self.names])[self.owner]


def dress(
    anatomy: Anatomy,
    posed: Floats,
    faces: NDArray[np.int32],
    rng: np.random.Generator,
    palette: Palette,
    instance: int,
    novel: bool,
) -> list[Item]:
    """Make the items of a body: bare skin, eyes, hair, shirt, trousers, shoes.

    Args:
        posed: (V, 3) vertices in the world.
        faces: (F, 3) triangles to render: the anatomy's or fewer; normals are computed from the anatomy's.
        novel: use textures that training never shows.
    """
    label = CLASS_INDEX[PERSON]
    normals = vertex_normals(posed, anatomy.faces)
    skin = linear(_mixed(rng, SKIN_TONES))
    skin_material = Material(first=skin, variation=0.1, scale=0.08, gloss=0.12, shininess=18)
    eyes = anatomy.belongs("eye")
    outfit = _outfit(anatomy, rng, palette, novel)
    bare = ~np.any([_covered(faces, region) for region, _, _ in outfit], axis=0)
    layers: list[tuple[NDArray[np.bool_], float, Material]] = [
        (~eyes, 0.0, skin_material),
        (eyes, 0.0, Material(first=(0.05, 0.04, 0.04), gloss=0.5, shininess=80, variation=0)),
    ]
    layers += outfit
    items = []
    for region, lift, material in layers:
        shown = _covered(faces, region)
        own = faces[shown & bare if lift == 0.0 else shown]
        if len(own):
            used, numbered = compact(own, len(posed))
            shell = Mesh(posed[used] + normals[used] * np.float32(lift), numbered)
            local, corners = anatomy.rest[used], normals[own]
            items.append(Item(shell, material, label, instance, local=local, normals=corners))
    return items


def _covered(faces: NDArray[np.int32], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F,) whether all corners of faces (F, 3) lie in a region (V,)."""
    return region[faces[:, 0]] & region[faces[:, 1]] & region[faces[:, 2]]


def _mixed(
    rng: np.random.Generator, tones: tuple[tuple[float, float, float], ...]
) -> tuple[float, float, float]:
    """A random tone between two neighbouring ones of a list."""
    at = rng.uniform(0, len(tones) - 1)
    low = int(at)
    a, b = np.asarray(tones[low]), np.asarray(tones[min(low + 1, len(tones) - 1)])
    r, g, bl = a + (b - a) * (at - low)
    return (float(r), float(g), float(bl))


def _outfit(
    anatomy: Anatomy, rng: np.random.Generator, palette: Palette, novel: bool
) -> list[tuple[NDArray[np.bool_], float, Material]]:
    rest = anatomy.rest
    size = float(rest[:, 2].max() - rest[:, 2].min()) / 1.7
    arms = anatomy.belongs("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
    head = anatomy.belongs("head", "neck03", "neck02", "eye")
    hands_feet = anatomy.belongs("wrist", "finger", "metacarpal", "foot", "toe")
    waist = float(anatomy.joints["spine05"][2]) + 0.06 * size
    neck = float(anatomy.joints["neck01"][2]) + rng.uniform(-0.02, 0.03) * size
    along = _along_arm(anatomy)
    sleeve = rng.choice([0.32, 0.45, 0.93, 0.93]) + rng.normal(0, 0.02)
    hem = waist - rng.uniform(0.02, 0.1) * size
    trunk = ~arms & ~head & ~anatomy.belongs("lowerleg", "foot", "toe")
    shirt = (trunk & (rest[:, 2] > hem) & (rest[:, 2] < neck)) | (arms & ~hands_feet & (along < sleeve))
    ankle, knee = float(anatomy.joints["foot.L"][2]), float(anatomy.joints["lowerleg01.L"][2])
    cut = ankle + 0.03 * size if chance(rng, 0.7) else knee + rng.uniform(-0.02, 0.14) * size
    legs = ~arms & ~head & (rest[:, 2] < waist) & (rest[:, 2] > cut)
    legs &= ~anatomy.belongs("foot", "toe")
    shoes = anatomy.belongs("foot", "toe") & (rest[:, 2] < ankle + 0.015 * size)
    top = _cloth(rng, palette, novel)
    bottom = _cloth(rng, palette, novel, against=top)
    layers = [
        (legs, 0.007 * size, bottom),
        (shirt, (0.011 + rng.uniform(0, 0.006)) * size, top if not chance(rng, 0.1) else bottom),
    ]
    if chance(rng, 0.88):
        layers.append((shoes, 0.009 * size, _cloth(rng, palette, False, against=bottom, plain=True)))
    hair = _hair(anatomy, rng, size)
    if hair is not None:
        tone = linear(_mixed(rng, HAIR_TONES)) if chance(rng, 0.92) else palette.color(rng)
        strands = Material(
            first=tone,
            second=(tone[0] * 0.5, tone[1] * 0.5, tone[2] * 0.5),
            pattern="wood",
            scale=0.03,
            variation=0.25,
            gloss=0.3,
            shininess=25,
            bump=0.2,
        )
        layers += [(region, lift, strands) for region, lift in hair]
    return layers


def _along_arm(anatomy: Anatomy) -> NDArray[np.float64]:
    """(V,) relative position along the arm: 0 at the shoulders, 1 at the wrists."""
    out = np.zeros(len(anatomy.rest))
    for side in "LR":
        start, end = anatomy.joints[f"upperarm01.{side}"], anatomy.joints[f"wrist.{side}"]
        axis = (end - start) / float((end - start) @ (end - start))
        mine = np.array([name.endswith(f".{side}") for name in anatomy.names])[anatomy.owner]
        out[mine] = ((anatomy.rest - start) @ axis)[mine]
    return out


def _hair(
    anatomy: Anatomy, rng: np.random.Generator, size: float
) -> list[tuple[NDArray[np.bool_], float]] | None:
    """Shells of hair: a cap, thicker at the top, that reaches to the nape or the shoulders; None for a bald head."""
    style = rng.choice(["short", "short", "full", "long", "bald"], p=[0.3, 0.15, 0.3, 0.2, 0.05])
    if style == "bald":
        return None
    rest = anatomy.rest
    head = anatomy.belongs("head", "neck03", "neck02")
    top = float(rest[head, 2].max())
    joint = anatomy.joints["head"]
    tall = top - float(joint[2])
    height = (rest[:, 2] - joint[2]) / tall
    front, back = float(rest[head, 1].min()), float(rest[head, 1].max())
    depth = (rest[:, 1] - front) / (back - front)
    line = {"short": 0.62, "full": 0.56, "long": 0.56}[str(style)] + rng.uniform(-0.03, 0.03)
    slope = {"short": 0.75, "full": 1.0, "long": 1.25}[str(style)]
    cap = head & (height > line + 0.34 - slope * np.clip(depth - 0.1, 0, 1))
    if style == "long":
        behind = anatomy.belongs("neck", "spine01", "spine02", "clavicle", "head")
        back_of_neck = rest[:, 1] > float(anatomy.joints["neck01"][1]) - 0.005
        cap |= behind & back_of_neck & (height < 0.3) & (np.abs(rest[:, 0]) < 0.09 * size)
    thick = {"short": 0.01, "full": 0.02, "long": 0.024}[str(style)] * size
    return [(cap, thick * 0.4), (cap & (height > line + 0.3 - slope * np.clip(depth - 0.18, 0, 1)), thick)]


def _cloth(
    rng: np.random.Generator,
    palette: Palette,
    novel: bool,
    against: Material | None = None,
    plain: bool = False,
) -> Material:
    calm = Palette(palette.hues, palette.saturation * rng.uniform(0.3, 1.1))
    first = calm.color(rng, (0.1, 0.95)) if against is None else contrasting(rng, calm, against.first)
    names = UNSEEN_PATTERNS if novel else CLOTH_PATTERNS
    pattern = "plain" if plain else str(rng.choice(names))
    return Material(
        first=first,
        second=contrasting(rng, calm, first),
        pattern=pattern,
        scale=float(rng.uniform(0.03, 0.09)),
        offset=(float(rng.uniform(0, 1)), float(rng.uniform(0, 1)), float(rng.uniform(0, 1))),
        variation=float(rng.uniform(0.08, 0.22)),
        gloss=float(rng.uniform(0.0, 0.06)) if not plain else 0.2,
        shininess=20.0,
        bump=float(rng.uniform(0.05, 0.25)),
    )
