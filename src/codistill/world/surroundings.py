"""Where scenes happen: a room with openings, or open ground under a sky. Gives items, lights and the sky."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codistill.render.lights import Light, Sky
from codistill.render.materials import Material
from codistill.render.mesh import Mesh
from codistill.render.noise import noise
from codistill.render.scene import Item
from codistill.world.categories.parts import choose
from codistill.world.classes import CLASS_INDEX
from codistill.world.looks import UNSEEN_PATTERNS, Palette, contrasting
from codistill.world.shapes import box, lathe, moved, rotated

GROUND, WALL, CEILING = (CLASS_INDEX[name] for name in ("ground", "wall", "ceiling"))

FLOOR_PATTERNS = (
    "planks",
    "tiles",
    "wood",
    "weave",
    "checks",
    "marble",
    "speckle",
    "plaster",
    "brick",
    "plain",
)
WALL_PATTERNS = (
    "plain",
    "plaster",
    "plaster",
    "brick",
    "stripes",
    "tiles",
    "planks",
    "patches",
    "dots",
    "zigzag",
)
OPEN_PATTERNS = ("grass", "grass", "speckle", "plaster", "pebbles", "tiles", "brick", "patches")
SCALES = {
    "planks": 0.14, "tiles": 0.4, "wood": 0.5, "weave": 0.05, "checks": 0.4, "marble": 0.8, "speckle": 0.08,
    "plaster": 0.5, "brick": 0.24, "plain": 0.5, "stripes": 0.2, "patches": 0.5, "dots": 0.22, "zigzag": 0.25,
    "grass": 0.35, "pebbles": 0.25, "plaid": 0.5, "terrazzo": 0.2, "waves": 0.3, "rings": 0.3, "hexagons": 0.2,
}  # fmt: skip
"""Metres of one period of each texture family on walls and floors."""


@dataclass(frozen=True)
class Surroundings:
    """The stage of a scene.

    Attributes:
        items, lights, sky, ambient, reach: as in `Scene`.
        half: (2,) half sides in metres of the floor that can be used.
        height: metres to the ceiling; inf outdoors.
        indoor: whether there is a ceiling.
    """

    items: list[Item]
    lights: list[Light]
    sky: Sky
    half: NDArray[np.float64]
    height: float
    ambient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reach: float = 1.2
    indoor: bool = field(default=True)


def surface_material(
    rng: np.random.Generator,
    palette: Palette,
    patterns: tuple[str, ...],
    novel: bool,
    bright: tuple[float, float],
) -> Material:
    """A calm material for a large surface: two near tones of one palette colour."""
    pattern = choose(rng, novel and rng.random() < 0.6, patterns, UNSEEN_PATTERNS)
    calm = Palette(palette.hues, palette.saturation * float(rng.choice([0.1, 0.35, 0.7])))
    first = calm.color(rng, bright)
    if rng.random() < 0.7:
        factor = rng.uniform(0.45, 0.8)
        second = (first[0] * factor, first[1] * factor, first[2] * factor)
    else:
        second = contrasting(rng, calm, first)
    shiny = (
        pattern in ("tiles", "planks", "marble", "checks", "wood", "terrazzo", "hexagons")
        and rng.random() < 0.5
    )
    return Material(
        first=first,
        second=second,
        pattern=pattern,
        scale=SCALES[pattern] * float(rng.uniform(0.7, 1.5)),
        offset=tuple(float(o) for o in rng.uniform(0, 7, 3)),
        variation=float(rng.uniform(0.06, 0.2)),
        gloss=float(rng.uniform(0.2, 0.4)) if shiny else 0.03,
        shininess=float(rng.uniform(40, 150)) if shiny else 10.0,
        mirror=float(rng.uniform(0.03, 0.1)) if shiny else 0.0,
        bump=0.0 if shiny else float(rng.uniform(0.0, 0.12)),
    )


def draw_sky(rng: np.random.Generator) -> tuple[Sky, list[Light]]:
    """A sky from noon to dusk, clear to overcast, with its sun."""
    turn, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(12, 70))
    sun = (float(np.cos(turn) * np.cos(height)), float(np.sin(turn) * np.cos(height)), float(np.sin(height)))
    low = float(np.clip((np.radians(30) - height) / np.radians(20), 0, 1))
    overcast = rng.random() < 0.25
    strength = rng.uniform(0.5, 0.9) if overcast else rng.uniform(1.9, 3.0)
    warm = np.array([1.0, 0.95 - 0.2 * low, 0.86 - 0.45 * low])
    zenith = np.array([0.17, 0.36, 0.85]) * rng.uniform(0.8, 1.4)
    horizon = np.array([0.72, 0.86, 1.05]) * (1 - low) + np.array([0.95, 0.66, 0.45]) * low
    if overcast:
        grey = rng.uniform(0.6, 0.95)
        zenith, horizon = grey * np.array([0.8, 0.85, 0.92]), grey * np.array([0.95, 0.97, 1.0])
    ground = horizon * rng.uniform(0.3, 0.5)
    cloud = rng.uniform(0.55, 0.9) if overcast else rng.choice([0.0, rng.uniform(0.2, 0.6)])
    sky = Sky(
        zenith=_color(zenith),
        horizon=_color(horizon),
        ground=_color(ground),
        cloud=float(cloud),
        cloud_offset=float(rng.uniform(0, 8)),
        sun=None if overcast else sun,
        glow=_color(warm),
    )
    light = Light(
        color=_color(warm * strength),
        direction=sun,
        radius=0.2 if overcast else float(rng.uniform(0.02, 0.06)),
    )
    return sky, [light]


def _color(values: NDArray[np.floating]) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


def open_ground(rng: np.random.Generator, palette: Palette, novel: bool) -> Surroundings:
    """Ground to the horizon, hills or a wall at the back, sky and sun."""
    sky, lights = draw_sky(rng)
    side = 36.0
    corners = np.array([[-side, -side, 0], [side, -side, 0], [side, side, 0], [-side, side, 0]], np.float32)
    plane = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), smooth=False)
    ground = surface_material(rng, palette, OPEN_PATTERNS, novel, (0.35, 0.75))
    items = [Item(plane, ground, GROUND)]
    hill = surface_material(rng, palette, ("grass", "patches", "plaster"), novel=False, bright=(0.3, 0.6))
    items.append(Item(_hills(rng), hill, GROUND))
    if rng.random() < 0.4:
        items += _path(rng, palette, novel)
    half = np.array([30.0, 30.0])
    return Surroundings(items, lights, sky, half, np.inf, reach=1.5, indoor=False)


def _path(rng: np.random.Generator, palette: Palette, novel: bool) -> list[Item]:
    """A paved strip across the ground, a hand's breadth thick and sunk in it."""
    paving = surface_material(
        rng, palette, ("tiles", "brick", "pebbles", "checks", "speckle"), novel, (0.4, 0.85)
    )
    strip = box((60.0, float(rng.uniform(1.5, 4.0)), 0.1), (0, float(rng.uniform(-2, 2)), -0.035), 0.01)
    return [Item(rotated(strip, "z", float(rng.uniform(0, 180))), paving, GROUND)]


def _hills(rng: np.random.Generator) -> Mesh:
    """A ring of hills 28 to 46 metres away."""
    around, rows = 96, 6
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    radius = np.linspace(28, 46, rows)
    high, seed = rng.choice([1.2, rng.uniform(2.0, 8.0)], p=[0.25, 0.75]), rng.uniform(0, 8)
    a, r = np.meshgrid(angle, radius, indexing="ij")
    x, y = r * np.cos(a), r * np.sin(a)
    where = np.stack([x.ravel(), y.ravel(), np.full(x.size, seed * 100)], axis=1) * 0.012
    bumps = noise(where.astype(np.float32)).reshape(x.shape)
    rise = np.linspace(0, 1, rows) ** 1.2
    z = (high * (0.6 + 0.8 * bumps) * rise).clip(-0.2, None) - 0.05
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(around), np.arange(rows - 1), indexing="ij")
    p, q = (i * rows + j).ravel(), (((i + 1) % around) * rows + j).ravel()
    faces = np.concatenate([np.stack([p, p + 1, q + 1], 1), np.stack([p, q + 1, q], 1)])[:, ::-1]
    return Mesh(vertices.astype(np.float32), np.ascontiguousarray(faces).astype(np.int32))


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
    return Surroundings(items, lights, sky, half, height, _color(ambient), reach=1.2, indoor=roofed)


Opening = tuple[float, float, float, float]


def _opening(rng: np.random.Generator, along: float, height: float, number: int) -> Opening | None:
    """Left, right, bottom and top of the window or door in a wall, or None."""
    kind = rng.choice(["window", "door", "none"], p=[0.5, 0.2, 0.3])
    if kind == "none":
        return None
    wide = rng.uniform(0.9, min(2.0, along)) if kind == "window" else rng.uniform(0.85, 1.1)
    left = rng.uniform(-along + 0.3, along - 0.3 - wide)
    if kind == "door":
        return (float(left), float(left + wide), 0.0, 2.05)
    low = rng.uniform(0.7, 1.0)
    return (
        float(left),
        float(left + wide),
        float(low),
        float(rng.uniform(low + 0.8, min(height - 0.2, 2.3))),
    )


def _wall(along: float, height: float, opening: Opening | None) -> list[Mesh]:
    """A wall along x whose inner face lies at y = 0, around its opening."""
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
    """A lamp under the ceiling, with sunlight from outside now and then."""
    x, y = rng.uniform(-0.4, 0.4, 2) * half
    radius = float(rng.uniform(0.12, 0.22))
    z = height - radius - 0.12
    power = rng.uniform(1.2, 2.2) * (height - 0.8) ** 2
    lights = [Light(color=_color(warm * power), position=(float(x), float(y), z), radius=radius)]
    if rng.random() < 0.55:
        lights.append(sun[0])
    profile = [
        (0.001, -radius),
        (radius * 0.7, -radius * 0.7),
        (radius, 0.0),
        (radius * 0.7, radius * 0.7),
        (0.001, radius),
    ]
    glow = Material(first=_color(warm), emission=2.5, variation=0.0)
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
