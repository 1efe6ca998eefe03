"""Surroundings of scenes: items, lights and sky, materials of large surfaces, and open ground under a sky."""

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
from codistill.world.shapes import box, rotated

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
"""Period in metres of each texture family on walls and floors."""


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of a scene.

    Attributes:
        items, lights, sky, ambient, reach: as in `Scene`.
        half: (2,) half sides in metres of the usable floor.
        height: height of the ceiling in metres; inf outdoors.
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
    """Draw a material of low contrast for a large surface: two similar tones of one colour of the palette."""
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
        offset=(rng.uniform(0, 7), rng.uniform(0, 7), rng.uniform(0, 7)),
        variation=float(rng.uniform(0.06, 0.2)),
        gloss=float(rng.uniform(0.2, 0.4)) if shiny else 0.03,
        shininess=float(rng.uniform(40, 150)) if shiny else 10.0,
        mirror=float(rng.uniform(0.03, 0.1)) if shiny else 0.0,
        bump=0.0 if shiny else float(rng.uniform(0.0, 0.12)),
    )


def draw_sky(rng: np.random.Generator) -> tuple[Sky, list[Light]]:
    """Draw a sky with its sun, from noon to dusk and from clear to overcast."""
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
        zenith=triple(zenith),
        horizon=triple(horizon),
        ground=triple(ground),
        cloud=float(cloud),
        cloud_offset=float(rng.uniform(0, 8)),
        sun=None if overcast else sun,
        glow=triple(warm),
    )
    light = Light(
        color=triple(warm * strength),
        direction=sun,
        radius=0.2 if overcast else float(rng.uniform(0.02, 0.06)),
    )
    return sky, [light]


def triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    """Convert an array (3,) to a tuple of floats."""
    return (float(values[0]), float(values[1]), float(values[2]))


def open_ground(rng: np.random.Generator, palette: Palette, novel: bool) -> Surroundings:
    """Make ground to the horizon, hills or a wall in the background, sky and sun."""
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
    """A paved strip across the ground, about 10 cm thick and sunk into it."""
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
