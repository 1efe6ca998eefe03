"""Rooms and courtyards: four walls with windows and a door, a floor, pictures and rugs, a lamp under the ceiling."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.lights import Light
from codistill.render.materials import Material
from codistill.render.mesh import Mesh
from codistill.render.scene import Item
from codistill.world.looks import Palette
from codistill.world.shapes import box, lathe, moved, rotated
from codistill.world.surroundings import (
    CEILING,
    FLOOR_PATTERNS,
    GROUND,
    OPEN_PATTERNS,
    WALL,
    WALL_PATTERNS,
    Surroundings,
    draw_sky,
    surface_material,
    triple,
)


def room(
    rng: np.random.Generator,
    palette: Palette,
    novel: bool,
    half: NDArray[np.float64],
    height: float,
    roofed: bool = True,
) -> Surroundings:
    """Four walls with windows and a door, a floor, skirting, and a ceiling unless it is a courtyard."""
    sky, sun = draw_sky(rng)
    floor = surface_material(rng, palette, FLOOR_PATTERNS if roofed else OPEN_PATTERNS, novel, (0.35, 0.85))
    wall = surface_material(rng, palette, WALL_PATTERNS, novel, (0.55, 0.97))
    accent = (
        surface_material(rng, palette, WALL_PATTERNS, novel, (0.4, 0.95)) if rng.random() < 0.35 else wall
    )
    frame = Material(first=palette.color(rng, (0.5, 0.98)), gloss=0.25, shininess=60, variation=0.05)
    items = [Item(box((*(2 * half + 0.4), 0.1), (0, 0, -0.05), 0), floor, GROUND)]
    for number in range(4):
        along, out = (half[0], half[1]) if number % 2 == 0 else (half[1], half[0])
        opening = _opening(rng, float(along), height, number)
        pieces = _wall(float(along), height, opening)
        trim = _frame(opening) if opening else []
        trim.append(box((2 * along, 0.025, 0.09), (0, -0.0125, 0.045), 0.004))
        for meshes, material in ((pieces, accent if number == 0 else wall), (trim, frame)):
            for mesh in meshes:
                turned = rotated(moved(mesh, (0, out, 0)), "z", 90 * number)
                items.append(Item(turned, material, WALL))
    lights = list(sun)
    ambient = np.zeros(3)
    if roofed:
        ceiling = Material(first=palette.color(rng, (0.8, 0.98)), variation=0.04, gloss=0.0)
        items.append(Item(box((*(2 * half + 0.4), 0.1), (0, 0, height + 0.05), 0), ceiling, CEILING))
        warm = np.array([1.0, rng.uniform(0.82, 0.97), rng.uniform(0.6, 0.92)])
        lights, lamp = _ceiling_light(rng, half, height, warm, sun)
        items += lamp
        ambient = warm * rng.uniform(0.4, 0.7)
    else:
        outside = surface_material(rng, palette, OPEN_PATTERNS, novel, (0.35, 0.75))
        ground = box((68, 68, 0.1), (0, 0, -0.16), 0)
        items.append(Item(ground, outside, GROUND))
    if roofed:
        items.append(
            Item(
                box((68, 68, 0.1), (0, 0, -0.3), 0),
                Material(first=(0.2, 0.22, 0.15), variation=0.3, scale=2.0),
                GROUND,
            )
        )
    items += _hangings(rng, palette, half, height, novel)
    return Surroundings(items, lights, sky, half, height, triple(ambient), reach=1.2, indoor=roofed)


Opening = tuple[float, float, float, float]
DOOR_HEIGHT = 2.05


def _opening(rng: np.random.Generator, along: float, height: float, number: int) -> Opening | None:
    """Draw left, right, bottom and top of the window or door in a wall; None for a wall without one."""
    kind = rng.choice(["window", "door", "none"], p=[0.5, 0.2, 0.3])
    if kind == "none":
        return None
    door = kind == "door" and height > DOOR_HEIGHT + 0.15
    wide = rng.uniform(0.85, 1.1) if door else rng.uniform(0.9, min(2.0, along))
    left = rng.uniform(-along + 0.3, along - 0.3 - wide)
    if door:
        return (float(left), float(left + wide), 0.0, DOOR_HEIGHT)
    low = rng.uniform(0.5, min(1.0, height - 1.1))
    return (
        float(left),
        float(left + wide),
        float(low),
        float(rng.uniform(low + 0.5, min(height - 0.2, 2.3))),
    )


def _wall(along: float, height: float, opening: Opening | None) -> list[Mesh]:
    """A wall along x with its opening; its inner face lies at y = 0."""
    thick = 0.2

    def slab(x0: float, x1: float, z0: float, z1: float) -> Mesh:
        return box((x1 - x0, thick, z1 - z0), ((x0 + x1) / 2, thick / 2, (z0 + z1) / 2), 0)

    end = along + thick
    if opening is None:
        return [slab(-end, end, -0.05, height)]
    x0, x1, z0, z1 = opening
    out = [slab(-end, x0, -0.05, height), slab(x1, end, -0.05, height), slab(x0, x1, z1, height)]
    return [*out, slab(x0, x1, -0.05, z0)] if z0 > 0 else out


def _frame(opening: Opening) -> list[Mesh]:
    """The frame of a window (with a cross and a sill) or of a door (with its leaf)."""
    x0, x1, z0, z1 = opening
    x, z, t = (x0 + x1) / 2, (z0 + z1) / 2, 0.06
    tall, wide = z1 - z0, x1 - x0
    out = [box((t, 0.24, tall), (s, 0.08, z), 0.006) for s in (x0 + t / 2, x1 - t / 2)]
    out.append(box((wide + 0.06, 0.26, t), (x, 0.08, z1), 0.006))
    if z0 > 0:
        out.append(box((wide + 0.16, 0.34, 0.045), (x, 0.04, z0), 0.008))
        out.append(box((0.04, 0.05, tall), (x, 0.1, z), 0.004))
        out.append(box((wide, 0.05, 0.04), (x, 0.1, z), 0.004))
    else:
        out.append(box((wide - 0.1, 0.05, tall - 0.05), (x, 0.12, z - 0.02), 0.006))
        for level in (0.55, 1.5):
            out.append(box((wide - 0.35, 0.075, 0.7), (x, 0.12, level), 0.02))
        out.append(box((0.13, 0.12, 0.025), (x0 + 0.2, 0.08, 1.0), 0.008))
    return out


def _ceiling_light(
    rng: np.random.Generator,
    half: NDArray[np.float64],
    height: float,
    warm: NDArray[np.float64],
    sun: list[Light],
) -> tuple[list[Light], list[Item]]:
    """A lamp under the ceiling, and sometimes sunlight from outside."""
    x, y = rng.uniform(-0.4, 0.4, 2) * half
    radius = float(rng.uniform(0.12, 0.22))
    z = height - radius - 0.12
    power = rng.uniform(1.2, 2.2) * (height - 0.8) ** 2
    lights = [Light(color=triple(warm * power), position=(float(x), float(y), z), radius=radius)]
    if rng.random() < 0.55:
        lights.append(sun[0])
    profile = [
        (0.001, -radius),
        (radius * 0.7, -radius * 0.7),
        (radius, 0.0),
        (radius * 0.7, radius * 0.7),
        (0.001, radius),
    ]
    glow = Material(first=triple(warm), emission=2.5, variation=0.0)
    bulb = Item(moved(lathe(profile, 24), (x, y, z)), glow, CEILING)
    stem = Item(box((0.02, 0.02, 0.14), (x, y, height - 0.06), 0), glow, CEILING)
    return lights, [bulb, stem]


def _hangings(
    rng: np.random.Generator, palette: Palette, half: NDArray[np.float64], height: float, novel: bool
) -> list[Item]:
    """Pictures on the walls and a rug on the floor."""
    items: list[Item] = []
    for number in range(4):
        along, out = (half[0], half[1]) if number % 2 == 0 else (half[1], half[0])
        for _ in range(int(rng.integers(0, 3))):
            wide, tall = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.8)
            x, z = rng.uniform(-along + 0.6, along - 0.6), rng.uniform(1.35, 1.75)
            if z + tall / 2 > height - 0.1:
                continue
            picture = surface_material(rng, Palette(palette.hues, 0.8), WALL_PATTERNS, novel, (0.3, 0.98))
            frame = Material(first=palette.color(rng, (0.1, 0.9)), gloss=0.3, shininess=60)
            for mesh, material in (
                (box((wide, 0.03, tall), (x, out - 0.015, z), 0.006), frame),
                (box((wide * 0.86, 0.012, tall * 0.84), (x, out - 0.031, z), 0.001), picture),
            ):
                items.append(Item(rotated(mesh, "z", 90 * number), material, WALL))
    if rng.random() < 0.5:
        rug = surface_material(rng, Palette(palette.hues, 0.7), WALL_PATTERNS, novel, (0.3, 0.9))
        wide, deep = rng.uniform(0.5, 0.9, 2) * np.minimum(half, 1.8) * 1.3
        mesh = box((wide, deep, 0.012), (*rng.uniform(-0.2, 0.2, 2) * half, 0.006), 0.004)
        items.append(Item(mesh, rug, GROUND))
    return items
