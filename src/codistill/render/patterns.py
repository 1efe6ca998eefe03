"""Procedural texture families: points on a surface in, the share of the second colour out.

A pattern is a function of points (N, 3), in units of its period, and of box-projected plane coordinates (N, 2); it
returns values in [0, 1]. `softness` (N,) is the width of a pixel in the same unit. Edges are at least that wide, and a
pattern finer than a pixel fades to its mean, which avoids aliasing on distant surfaces.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codistill.render.noise import Floats, noise

PatternFunction = Callable[[Floats, Floats, Floats], Floats]


@dataclass(frozen=True)
class Pattern:
    """A texture family: its function, the mean of its values, and whether the training split may contain it."""

    function: PatternFunction
    mean: float
    held_out: bool = False


def _step(value: Floats, edge: float, softness: Floats) -> Floats:
    """0 below the edge, 1 above it, with a ramp one pixel wide."""
    return np.clip((value - edge) / np.maximum(softness, 1e-3) + 0.5, 0.0, 1.0)


def _fraction(value: Floats) -> Floats:
    return value - np.floor(value)


def _stripe(value: Floats, share: float, softness: Floats) -> Floats:
    """1 in a centred band that covers `share` of each period, box-filtered over a pixel."""
    distance = np.abs(_fraction(value) - 0.5)
    return _step(-distance, -0.5 * share, softness)


def _hash(cell: Floats) -> Floats:
    """A pseudo-random number in [0, 1) for each integer cell (N, k)."""
    weights = np.array([127.1, 311.7, 74.7], dtype=np.float64)[: cell.shape[1]]
    return _fraction(np.sin(cell.astype(np.float64) @ weights) * 43758.5453).astype(np.float32)


def plain(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return np.zeros(len(points), np.float32)


def speckle(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return _step(noise(points * 2.0), 0.35, softness + 0.15)


def marble(points: Floats, plane: Floats, softness: Floats) -> Floats:
    wave = np.abs(np.sin(3.1 * points[:, 0] + 4.0 * noise(points * 0.5)))
    return (1.0 - wave) ** 3


def wood(points: Floats, plane: Floats, softness: Floats) -> Floats:
    warp = noise(points * np.array([0.12, 0.5, 0.5], np.float32))
    radius = np.sqrt((points[:, 1] - 0.3) ** 2 + (points[:, 2] + 0.2) ** 2) + 0.35 * warp
    ring = _fraction(radius * 2.5)
    return ring**2 * 0.75 + 0.25 * (0.5 + 0.5 * noise(points * np.array([0.3, 6.0, 6.0], np.float32)))


def planks(points: Floats, plane: Floats, softness: Floats) -> Floats:
    row = np.floor(plane[:, 1])
    shifted = plane[:, 0] * 0.2 + _hash(row[:, None])
    tone = _hash(np.stack([row, np.floor(shifted)], axis=1)) * 0.55
    joint = 1.0 - (1.0 - _stripe(plane[:, 1] + 0.5, 0.05, softness)) * (
        1.0 - _stripe(shifted + 0.5, 0.012, softness * 0.2)
    )
    grain = 0.2 * noise(np.stack([plane[:, 0] * 0.25, plane[:, 1] * 3.0, row * 7.7], axis=1))
    return np.clip(tone + grain + joint, 0.0, 1.0)


def brick(points: Floats, plane: Floats, softness: Floats) -> Floats:
    row = np.floor(plane[:, 1] * 2.0)
    across = plane[:, 0] + 0.5 * (row % 2)
    mortar = 1.0 - (1.0 - _stripe(plane[:, 1] * 2.0 + 0.5, 0.16, softness * 2)) * (
        1.0 - _stripe(across + 0.5, 0.08, softness)
    )
    tone = 0.25 * _hash(np.stack([row, np.floor(across)], axis=1))
    return np.clip(np.maximum(mortar, tone), 0.0, 1.0)


def tiles(points: Floats, plane: Floats, softness: Floats) -> Floats:
    joint = 1.0 - (1.0 - _stripe(plane[:, 0] + 0.5, 0.06, softness)) * (
        1.0 - _stripe(plane[:, 1] + 0.5, 0.06, softness)
    )
    return np.clip(np.maximum(joint, 0.2 * _hash(np.floor(plane))), 0.0, 1.0)


def stripes(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return _stripe(points[:, 0], 0.45, softness)


def checks(points: Floats, plane: Floats, softness: Floats) -> Floats:
    a = 2.0 * _stripe(points[:, 0] * 0.5, 0.5, softness * 0.5) - 1.0
    b = 2.0 * _stripe(points[:, 1] * 0.5, 0.5, softness * 0.5) - 1.0
    c = 2.0 * _stripe(points[:, 2] * 0.5, 0.5, softness * 0.5) - 1.0
    return 0.5 + 0.5 * a * b * c


def dots(points: Floats, plane: Floats, softness: Floats) -> Floats:
    row = np.floor(plane[:, 1])
    x = _fraction(plane[:, 0] + 0.5 * (row % 2)) - 0.5
    y = _fraction(plane[:, 1]) - 0.5
    return _step(-np.sqrt(x * x + y * y), -0.3, softness)


def weave(points: Floats, plane: Floats, softness: Floats) -> Floats:
    over = np.sin(np.pi * plane[:, 0]) * np.sin(np.pi * plane[:, 1])
    thread = 0.25 * np.cos(6 * np.pi * plane[:, 0]) * np.cos(6 * np.pi * plane[:, 1])
    return np.clip(0.5 + 0.45 * np.sign(over) * np.sqrt(np.abs(over)) + thread, 0.0, 1.0)


def plaster(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return np.clip(0.5 + 0.8 * noise(points * 0.8), 0.0, 1.0)


def patches(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return _step(noise(points * 0.35), 0.0, softness + 0.03)


def grass(points: Floats, plane: Floats, softness: Floats) -> Floats:
    blades = noise(points * np.array([5.0, 5.0, 1.0], np.float32))
    return np.clip(0.5 + 0.6 * blades + 0.5 * noise(points * 0.3), 0.0, 1.0)


def pebbles(points: Floats, plane: Floats, softness: Floats) -> Floats:
    return _nearest_cell(plane, 0.42, softness)


def plaid(points: Floats, plane: Floats, softness: Floats) -> Floats:
    wide = _stripe(plane[:, 0], 0.5, softness) + _stripe(plane[:, 1], 0.5, softness)
    thin = _stripe(plane[:, 0] + 0.5, 0.08, softness) + _stripe(plane[:, 1] + 0.5, 0.08, softness)
    return np.clip(0.4 * wide + 0.3 * thin, 0.0, 1.0)


def terrazzo(points: Floats, plane: Floats, softness: Floats) -> Floats:
    chips = _nearest_cell(plane * 1.7, 0.33, softness)
    return np.clip(chips * (0.4 + 0.6 * _hash(np.floor(plane * 1.7))), 0.0, 1.0)


def waves(points: Floats, plane: Floats, softness: Floats) -> Floats:
    bent = plane[:, 1] + 0.25 * np.sin(2 * np.pi * plane[:, 0] * 0.5)
    return _stripe(bent, 0.4, softness)


def zigzag(points: Floats, plane: Floats, softness: Floats) -> Floats:
    bent = plane[:, 1] + np.abs(_fraction(plane[:, 0] * 0.5) - 0.5)
    return _stripe(bent, 0.5, softness)


def rings(points: Floats, plane: Floats, softness: Floats) -> Floats:
    x = _fraction(plane[:, 0] * 0.5) - 0.5
    y = _fraction(plane[:, 1] * 0.5) - 0.5
    return _stripe(np.sqrt(x * x + y * y) * 4.0, 0.45, softness * 2)


def hexagons(points: Floats, plane: Floats, softness: Floats) -> Floats:
    size = np.array([1.0, np.sqrt(3.0)], np.float32)
    a = plane - size * np.floor(plane / size + 0.5)
    b = (plane - size / 2) - size * np.floor((plane - size / 2) / size + 0.5)
    nearer = (a * a).sum(axis=1) < (b * b).sum(axis=1)
    cell = np.abs(np.where(nearer[:, None], a, b))
    edge = np.maximum(cell[:, 0], cell[:, 0] * 0.5 + cell[:, 1] * np.float32(np.sqrt(0.75)))
    return np.maximum(
        _step(edge, 0.44, softness), 0.25 * _hash(np.round((plane - np.where(nearer[:, None], a, b)) * 2))
    )


def _nearest_cell(plane: Floats, radius: float, softness: Floats) -> Floats:
    """1 within `radius` of the points of a jittered grid (the nearest of 2×2 cells)."""
    base = np.floor(plane - 0.5)
    nearest = np.full(len(plane), 4.0, np.float32)
    for dx in (0.0, 1.0):
        for dy in (0.0, 1.0):
            cell = base + np.array([dx, dy], np.float32)
            jitter_x, jitter_y = _hash(cell), _hash(cell + 57.0)
            size = 0.75 + 0.5 * _hash(cell + 113.0)
            x = cell[:, 0] + 0.3 + 0.4 * jitter_x - plane[:, 0]
            y = cell[:, 1] + 0.3 + 0.4 * jitter_y - plane[:, 1]
            nearest = np.minimum(nearest, (np.abs(x) ** 3 + np.abs(y) ** 3) ** (1 / 3) / size)
    return _step(-nearest, -radius, softness)


PATTERNS: dict[str, Pattern] = {
    "plain": Pattern(plain, 0.0),
    "speckle": Pattern(speckle, 0.19),
    "marble": Pattern(marble, 0.18),
    "wood": Pattern(wood, 0.38),
    "planks": Pattern(planks, 0.33),
    "brick": Pattern(brick, 0.32),
    "tiles": Pattern(tiles, 0.2),
    "stripes": Pattern(stripes, 0.45),
    "checks": Pattern(checks, 0.5),
    "dots": Pattern(dots, 0.28),
    "weave": Pattern(weave, 0.5),
    "plaster": Pattern(plaster, 0.5),
    "patches": Pattern(patches, 0.5),
    "grass": Pattern(grass, 0.5),
    "pebbles": Pattern(pebbles, 0.6),
    "zigzag": Pattern(zigzag, 0.5),
    "plaid": Pattern(plaid, 0.45, held_out=True),
    "terrazzo": Pattern(terrazzo, 0.25, held_out=True),
    "waves": Pattern(waves, 0.4, held_out=True),
    "rings": Pattern(rings, 0.45, held_out=True),
    "hexagons": Pattern(hexagons, 0.3, held_out=True),
}
"""Texture families; the held-out ones appear in the test split only."""


def evaluate_pattern(name: str, points: Floats, plane: Floats, softness: Floats) -> Floats:
    """Share of the second colour (N,), which fades to the family's mean where a period is finer than a pixel."""
    pattern = PATTERNS[name]
    value = pattern.function(points, plane, softness)
    fade = np.clip(1.6 - 2.0 * softness, 0.0, 1.0)
    return pattern.mean + (value - pattern.mean) * fade
