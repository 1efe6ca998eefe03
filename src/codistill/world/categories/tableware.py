"""Rotationally symmetric things: mug, bottle, bowl, teapot, goblet, vase, bucket."""

from collections.abc import Iterator

import numpy as np

from codistill.world.categories.parts import Part, chance, choose, rounded
from codistill.world.shapes import ellipsoid, lathe, moved, rod, torus, tube


def _hollow(profile: list[tuple[float, float]], wall: float) -> list[tuple[float, float]]:
    """Continue an outside profile (bottom to rim) down the inside of the vessel."""
    low = profile[0][1]
    radii, heights = zip(*profile, strict=True)
    floor = max(float(np.interp(low + wall, heights, radii)) - wall, 0.001)
    inside = [(max(r - wall, 0.001), z) for r, z in reversed(profile) if z > low + wall]
    return [(0.001, low), *profile, *inside, (floor, low + wall), (0.001, low + wall)]


def mug(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    r, h = rng.uniform(0.036, 0.046), rng.uniform(0.085, 0.11)
    style = choose(rng, novel, ("straight", "tapered"), ("barrel",))
    if style == "straight":
        outside = [(r * 0.94, 0.0), (r, 0.006), (r, h)]
    elif style == "tapered":
        outside = [(r * 0.72, 0.0), (r * 0.78, 0.006), (r * 1.05, h)]
    else:
        outside = rounded([(r * 0.75, 0.0), (r * 1.1, h * 0.4), (r * 1.02, h * 0.8), (r, h)])
    yield "body", lathe(_hollow(outside, 0.004), 40)
    low, high, reach = h * 0.22, h * 0.78, r * rng.uniform(0.65, 0.85)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    edge = r * 0.96
    path = [(edge + reach * np.cos(a), 0, (low + high) / 2 + (high - low) / 2 * np.sin(a)) for a in angles]
    slot = "trim" if chance(rng, 0.3) else "body"
    yield slot, tube([(edge - 0.004, 0, low), *path[1:-1], (edge - 0.004, 0, high)], 0.0055, 10)
    if chance(rng, 0.5):
        yield "detail", moved(lathe([(0.001, 0), (r * 0.9, 0)], 32), (0, 0, h * 0.86))
    if chance(rng, 0.3):
        yield "trim", moved(torus(r + (0.002 if style != "tapered" else 0.0), 0.003), (0, 0, h - 0.003))


def bottle(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    r, h = rng.uniform(0.034, 0.044), rng.uniform(0.24, 0.31)
    neck = r * rng.uniform(0.3, 0.4)
    style = choose(rng, novel, ("wine", "sloped", "round"), ("flask",))
    if style == "wine":
        outside = [(r * 0.9, 0), (r, 0.008), (r, h * 0.58), (r * 0.8, h * 0.67), (neck, h * 0.75), (neck, h)]
    elif style == "sloped":
        outside = [(r * 0.9, 0), (r, 0.008), (r, h * 0.45), (neck * 1.2, h * 0.8), (neck, h)]
    elif style == "round":
        outside = rounded(
            [(r * 0.8, 0), (r * 1.25, h * 0.25), (r * 1.0, h * 0.5), (neck, h * 0.68), (neck, h)]
        )
    else:
        outside = rounded([(r * 1.3, 0), (r * 1.35, h * 0.08), (neck * 1.1, h * 0.6), (neck, h)])
    yield "body", lathe([(0.001, 0.0), *outside, (0.001, h)], 36)
    if chance(rng, 0.75):
        top = lathe(
            [(0.001, h - 0.02), (neck * 1.2, h - 0.02), (neck * 1.2, h + 0.012), (0.001, h + 0.012)], 24
        )
        yield "trim", top
    else:
        yield "trim", moved(torus(neck, neck * 0.3, 24), (0, 0, h - neck * 0.5))
    if style in ("wine", "sloped") and chance(rng, 0.8):
        low, high = h * 0.14, h * rng.uniform(0.36, 0.43)
        yield "detail", lathe([(r * 0.9, low), (r * 1.015, low), (r * 1.015, high), (r * 0.9, high)], 36)


def bowl(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius = rng.uniform(0.08, 0.15)
    height = radius * choose(rng, novel, (0.5, 0.6, 0.7), (0.35, 0.95))
    foot = radius * rng.uniform(0.35, 0.5)
    angles = np.linspace(0.0, np.pi / 2, 10)
    outside = [(foot, 0.0), (foot, 0.012)] + [
        (foot + (radius - foot) * np.sin(a), 0.012 + (height - 0.012) * (1 - np.cos(a))) for a in angles[1:]
    ]
    yield "body", lathe(_hollow(outside, 0.006), 44)
    if chance(rng, 0.4):
        yield "trim", moved(torus(radius - 0.003, 0.005, 44), (0, 0, height))
    if chance(rng, 0.45):
        count = int(rng.integers(4, 9))
        size = radius * 0.5
        for k in range(count):
            a, r = 2.4 * k, radius * 0.6 * np.sqrt(k / count)
            slot = "detail" if k % 2 else "extra"
            z = height * 0.62 + (radius - r) * 0.25
            yield slot, ellipsoid(size * rng.uniform(0.85, 1.1), (r * np.cos(a), r * np.sin(a), z))


def teapot(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    r, squash = rng.uniform(0.075, 0.1), rng.uniform(0.75, 0.95)
    h = 2 * r * squash
    style = choose(rng, novel, ("ball", "pear"), ("straight",))
    if style == "ball":
        outside = rounded(
            [(r * 0.5, 0), (r * 0.95, h * 0.3), (r, h * 0.5), (r * 0.85, h * 0.75), (r * 0.45, h * 0.97)]
        )
    elif style == "pear":
        outside = rounded(
            [(r * 0.6, 0), (r * 1.05, h * 0.25), (r * 0.9, h * 0.55), (r * 0.55, h * 0.85), (r * 0.45, h)]
        )
    else:
        outside = [(r * 0.95, 0), (r, 0.006), (r * 0.85, h), (r * 0.5, h + 0.004)]
    yield "body", lathe([(0.001, 0), *outside, (0.001, outside[-1][1])], 40)
    top = outside[-1][1]
    lid = [(r * 0.5, top - 0.004), (r * 0.5, top + 0.006), (r * 0.3, top + 0.022), (0.001, top + 0.028)]
    yield "trim", lathe([(0.001, top - 0.004), *lid], 32)
    yield "trim", ellipsoid(r * 0.27, (0, 0, top + 0.036))
    spout = [(r * 0.75, 0, h * 0.28), (r * 1.3, 0, h * 0.42), (r * 1.5, 0, h * 0.75), (r * 1.8, 0, h * 0.98)]
    curve = np.array([np.array(p) for p in spout])
    smooth = np.array([_bezier(curve, t) for t in np.linspace(0, 1, 12)])
    yield "body", tube(smooth, np.linspace(r * 0.27, r * 0.11, 12), 16)
    angles = np.linspace(-1.25, 1.25, 14)
    reach = r * 0.75
    handle = [(-r * 0.72 - reach * np.cos(a), 0, h * 0.52 + h * 0.34 * np.sin(a)) for a in angles]
    if novel and chance(rng, 0.5):
        handle = [
            (r * 0.75 * np.cos(a), 0, top * 0.86 + r * 1.1 * np.sin(a))
            for a in np.linspace(0.05, np.pi - 0.05, 16)
        ]
    slot = "trim" if chance(rng, 0.4) else "body"
    yield slot, tube(handle, r * 0.1, 12)


def _bezier(points: np.ndarray, t: float) -> np.ndarray:
    a, b, c, d = points
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def goblet(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, h = rng.uniform(0.034, 0.045), rng.uniform(0.16, 0.22)
    cup = h * rng.uniform(0.42, 0.52)
    stem = h - cup
    style = choose(rng, novel, ("tulip", "cone"), ("flute",))
    if style == "tulip":
        sides = rounded(
            [(0.006, stem), (radius * 0.95, stem + cup * 0.3), (radius, stem + cup * 0.55), (radius * 0.8, h)]
        )
    elif style == "cone":
        sides = [(0.006, stem), (radius * 1.25, h)]
    else:
        sides = rounded([(0.006, stem * 0.8), (radius * 0.6, stem + cup * 0.3), (radius * 0.62, h)])
    foot = [(0.001, 0), (radius * 0.95, 0.0), (radius * 0.95, 0.004), (radius * 0.3, 0.012), (0.006, 0.03)]
    inside = [(max(r - 0.003, 0.001), z + 0.002) for r, z in reversed(sides)]
    yield "body", lathe([*foot, *sides, *inside], 36)


def vase(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    height = rng.uniform(0.2, 0.38)
    radius = height * rng.uniform(0.2, 0.3)
    style = choose(rng, novel, ("belly", "amphora", "trumpet"), ("gourd",))
    shape = {
        "belly": [(0.6, 0), (1.0, 0.35), (0.9, 0.6), (0.4, 0.85), (0.55, 1.0)],
        "amphora": [(0.4, 0), (0.55, 0.15), (1.0, 0.6), (0.75, 0.8), (0.35, 0.9), (0.5, 1.0)],
        "trumpet": [(0.5, 0), (0.35, 0.25), (0.45, 0.6), (0.95, 1.0)],
        "gourd": [(0.6, 0), (1.0, 0.25), (0.45, 0.55), (0.65, 0.75), (0.35, 0.9), (0.42, 1.0)],
    }[style]
    outside = rounded([(r * radius, z * height) for r, z in shape])
    yield "body", lathe(_hollow(outside, 0.005), 40)
    if style == "amphora":
        for side in (-1, 1):
            arc = [
                (side * radius * (0.4 + 0.75 * np.sin(a)), 0, height * (0.79 + 0.14 * np.cos(a)))
                for a in np.linspace(0.15, np.pi - 0.5, 12)
            ]
            yield "trim", tube(arc, radius * 0.08, 10)
    if chance(rng, 0.6):
        for _ in range(int(rng.integers(2, 6))):
            a, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5)
            top = height * rng.uniform(1.35, 1.8)
            tip = np.array([np.cos(a) * lean * top * 0.5, np.sin(a) * lean * top * 0.5, top])
            yield "detail", rod((0, 0, height * 0.4), tip, 0.004, segments=6)
            for k in range(6):
                b = 2 * np.pi * k / 6
                petal = tip + 0.03 * np.array([np.cos(b), np.sin(b), 0.0])
                yield "extra", ellipsoid((0.035, 0.035, 0.014), petal, detail=5)
            yield "trim", ellipsoid((0.03, 0.03, 0.022), tip + np.array([0, 0, 0.005]), detail=5)


def bucket(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, height = rng.uniform(0.13, 0.17), rng.uniform(0.22, 0.3)
    foot = radius * choose(rng, novel, (0.7, 0.78), (0.95,))
    outside = [(foot, 0), (foot, 0.006), (radius, height)]
    yield "body", lathe(_hollow(outside, 0.006), 40)
    yield "trim", moved(torus(radius, 0.008, 40), (0, 0, height))
    yield "trim", moved(torus(foot + (radius - foot) * 0.25 + 0.002, 0.006, 40), (0, 0, height * 0.25))
    tilt = rng.uniform(-1.2, 1.2)
    arc = []
    for a in np.linspace(0, np.pi, 24):
        x, r = radius * 1.02 * np.cos(a), radius * 1.0 * np.sin(a)
        arc.append((x, r * np.sin(tilt), height * 0.96 + r * np.cos(tilt)))
    yield "detail", tube(arc, 0.005, 8)
    for side in (-1, 1):
        yield "detail", ellipsoid((0.03, 0.03, 0.03), (side * radius * 1.0, 0, height * 0.96), detail=8)
