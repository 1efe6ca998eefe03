"""A thing: an object of a category with random proportions and materials, which can be placed in a scene."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.errors import ConfigError, unknown_name
from codistill.render.materials import Material
from codistill.render.mesh import Mesh
from codistill.render.scene import Item
from codistill.world.categories import CATEGORIES
from codistill.world.categories.parts import Part
from codistill.world.classes import CLASS_INDEX
from codistill.world.looks import Palette, draw_material, special_materials
from codistill.world.shapes import joined, rotation


@dataclass(frozen=True)
class Thing:
    """An object with materials, standing on z = 0 about the z axis.

    Attributes:
        category: name of its category.
        parts: (slot, mesh); meshes of one slot are joined.
        materials: materials by slot.
        size: (3,) in metres, along x, y, z.
        low, high: (2,) corners of its footprint.
        radius: radius of the circle about the z axis that contains it.
    """

    category: str
    parts: tuple[Part, ...]
    materials: dict[str, Material]
    size: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    radius: float

    def items(self, pose: NDArray[np.floating], instance: int) -> list[Item]:
        """The items of the thing in a scene.

        Args:
            pose: (4, 4) thing-to-world, rigid.
            instance: its instance number.
        """
        label = CLASS_INDEX[self.category]
        return [
            Item(mesh.transformed(pose), self.materials[slot], label, instance, local=mesh.vertices)
            for slot, mesh in self.parts
        ]


def build_thing(
    category: str, rng: np.random.Generator, palette: Palette, novel: bool = False, scale: float = 1.0
) -> Thing:
    """Build a thing of a category with random proportions and materials.

    Args:
        category: a name of `CATEGORIES`.
        novel: use shapes and textures that training never shows.
        scale: 1 for natural size, less for a toy.

    Raises:
        ConfigError: for an unknown category.
    """
    if category not in CATEGORIES:
        raise ConfigError(unknown_name("category", category, CATEGORIES))
    pieces = list(CATEGORIES[category].build(rng, novel))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([mirror * scale, scale, scale])
    matrix[2, 3] = -scale * min(float(mesh.vertices[:, 2].min()) for _, mesh in pieces)
    by_slot: dict[str, list[Mesh]] = {}
    for slot, mesh in pieces:
        key = f"{slot}{'' if mesh.smooth else '|flat'}"
        by_slot.setdefault(key, []).append(mesh.transformed(matrix))
    parts = tuple((key.split("|")[0], joined(meshes)) for key, meshes in by_slot.items())
    points = np.concatenate([mesh.vertices for _, mesh in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    size = high - low
    reach = float(np.sqrt((points[:, :2] ** 2).sum(axis=1).max()))
    materials = _materials(rng, palette, float(size.max()), novel)
    return Thing(category, parts, materials, size, low[:2], high[:2], reach)


def _materials(rng: np.random.Generator, palette: Palette, size: float, novel: bool) -> dict[str, Material]:
    body = draw_material(rng, palette, size, novel)
    trim = draw_material(rng, palette, size, novel, against=body.mean_color)
    out = {"body": body, "trim": trim}
    for slot in ("detail", "extra"):
        against = body if rng.random() < 0.5 else trim
        out[slot] = draw_material(rng, palette, size * 0.5, novel, against=against.mean_color)
    return out | special_materials(rng, palette, size)


def place(x: float, y: float, z: float, turn: float) -> NDArray[np.float64]:
    """Pose (4, 4) at (x, y, z), rotated about z by `turn` degrees."""
    out = np.eye(4)
    out[:3, :3] = rotation("z", turn)
    out[:3, 3] = (x, y, z)
    return out
