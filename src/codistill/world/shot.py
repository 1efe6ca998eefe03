"""A composed scene with its cameras, which is the input of the renderer, and facts for the index."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codistill.render.camera import Camera
from codistill.render.film import Film
from codistill.render.lights import Light
from codistill.render.mesh import Floats, Ints
from codistill.render.scene import Item, Scene
from codistill.world.layout import Placed
from codistill.world.surroundings import Surroundings

MAX_LIGHTS = 3


@dataclass(frozen=True)
class Shot:
    """A scene with one or two cameras.

    Attributes:
        scene: the scene for the renderer.
        cameras, films: one per view.
        names: category of each instance, by its number.
        facts: further ground truth, as plain JSON values.
        bodies: (V, 3) vertices and (F, 3) faces of each person without clothes, in the order of `facts["people"]`.
    """

    scene: Scene
    cameras: tuple[Camera, ...]
    films: tuple[Film, ...]
    names: dict[int, str]
    facts: dict[str, Any] = field(default_factory=dict)
    bodies: tuple[tuple[Floats, Ints], ...] = ()


def assemble(
    surroundings: Surroundings,
    placed: list[Placed],
    rng: np.random.Generator,
    first_instance: int = 1,
    extra: Sequence[Item] = (),
) -> tuple[Scene, dict[int, str]]:
    """Assemble a scene from its surroundings, the placed things and further items.

    A lamp among the things is lit with probability 0.7, while there are fewer than `MAX_LIGHTS` lights.

    Args:
        first_instance: number of the first placed thing; the extra items have their own numbers.
    """
    items = [*surroundings.items, *extra]
    lights = list(surroundings.lights)
    names: dict[int, str] = {}
    for number, one in enumerate(placed, start=first_instance):
        names[number] = one.thing.category
        items += one.thing.items(one.pose, number)
        bulbs = [mesh for slot, mesh in one.thing.parts if slot == "bulb"]
        if bulbs and len(lights) < MAX_LIGHTS and rng.random() < 0.7:
            center = one.pose[:3, :3] @ bulbs[0].vertices.mean(axis=0) + one.pose[:3, 3]
            size = float(np.ptp(bulbs[0].vertices[:, 2])) / 2
            power = 25.0 * size
            at = (float(center[0]), float(center[1]), float(center[2]))
            lights.append(
                Light(color=(power, power * 0.85, power * 0.6), position=at, radius=max(size, 0.01))
            )
    scene = Scene(items, lights, surroundings.sky, surroundings.ambient, surroundings.reach)
    return scene, names


def draw_film(rng: np.random.Generator) -> Film:
    """Draw exposure, white balance and noise of one picture."""
    warmth, tint = rng.normal(0, 0.05), rng.normal(0, 0.02)
    return Film(
        stops=float(np.clip(rng.normal(0.15, 0.3), -0.6, 0.8)),
        balance=(1.0 + warmth, 1.0 + tint, 1.0 - warmth),
        contrast=float(rng.uniform(0.95, 1.2)),
        vignette=float(rng.uniform(0.0, 0.3)),
        noise=float(np.exp(rng.uniform(np.log(0.003), np.log(0.015)))),
    )
