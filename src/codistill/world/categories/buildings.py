"""Buildings: house, windmill."""

from collections.abc import Iterator

import numpy as np

from codistill.world.categories.parts import Part, chance, choose
from codistill.world.shapes import box, ellipsoid, extrude, lathe, moved, rod, rotated


def house(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width, depth = rng.uniform(4.0, 6.0), rng.uniform(3.5, 5.0)
    floors = choose(rng, novel, (1, 2), (3,))
    wall = 2.3 * floors
    roof = rng.uniform(1.3, 2.4)
    yield "body", box((width, depth, wall), (0, 0, wall / 2), 0.01)
    eave = 0.35
    w = width / 2
    if novel and chance(rng, 0.5):
        yield "trim", box((width + 0.4, depth + 0.4, 0.25), (0, 0, wall + 0.1), 0.03)
    else:
        yield "body", extrude([(-w, wall), (w, wall), (0, wall + roof)], depth, smooth=False)
        slope = roof / w
        outer = [(-w - eave, wall - slope * eave), (0, wall + roof), (w + eave, wall - slope * eave)]
        lifted = [(x, z + 0.22) for x, z in reversed(outer)]
        yield "trim", extrude([*outer, *lifted], depth + 2 * eave, smooth=False)
    if chance(rng, 0.7):
        x = width * rng.choice([-0.25, 0.25])
        top = wall + roof * 0.5 + 0.9
        yield "extra", box((0.5, 0.5, 1.9), (x, 0.3, top - 0.5), 0.03)
        yield "detail", box((0.6, 0.6, 0.14), (x, 0.3, top + 0.45), 0.03)
    front = -depth / 2
    door = width * rng.uniform(-0.15, 0.15)
    yield "detail", box((1.0, 0.08, 2.0), (door, front, 1.0), 0.02)
    yield "extra", box((0.82, 0.1, 1.85), (door, front - 0.02, 0.95), 0.02)
    yield "detail", ellipsoid(0.09, (door + 0.3, front - 0.08, 0.95), detail=8)
    yield "detail", box((1.3, 0.5, 0.14), (door, front - 0.2, 0.07), 0.02)
    for level in range(floors):
        z = 1.4 + 2.3 * level
        for x in np.linspace(-w * 0.66, w * 0.66, 3 if width > 4.8 else 2):
            if level > 0 or abs(x - door) > 1.05:
                yield from _window(x, front, z, 0)
        for side in (-1, 1):
            for y in (-depth * 0.22, depth * 0.22):
                yield from _window(y, -w, z, 90 if side > 0 else -90)
        for x in (-w * 0.4, w * 0.4):
            yield from _window(x, front, z, 180)


def _window(along: float, out: float, z: float, turn: float) -> Iterator[Part]:
    """A window with frame, cross and sill, in a wall that faces -y and is rotated about z by `turn`."""
    pieces: list[Part] = [
        ("detail", box((0.95, 0.1, 1.05), (along, out, z), 0.02)),
        ("glass", box((0.8, 0.12, 0.9), (along, out, z), 0.005)),
    ]
    pieces += [
        ("detail", box((0.05, 0.15, 0.9), (along, out, z), 0.005)),
        ("detail", box((0.8, 0.15, 0.05), (along, out, z), 0.005)),
        ("detail", box((1.1, 0.26, 0.07), (along, out - 0.04, z - 0.54), 0.01)),
    ]
    for slot, mesh in pieces:
        yield slot, rotated(mesh, "z", turn)


def windmill(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    height = rng.uniform(4.5, 6.0)
    base, top = height * rng.uniform(0.2, 0.25), height * 0.13
    sides = choose(rng, novel, (8, 32), (4,))
    yield "body", lathe([(0.001, 0), (base, 0), (top, height), (0.001, height)], sides, smooth=sides > 8)
    yield (
        "trim",
        moved(
            lathe([(top * 1.15, 0), (top * 1.1, top * 0.3), (top * 0.6, top * 1.0), (0.001, top * 1.25)], 24),
            (0, 0, height),
        ),
    )
    hub = (0, -top * 1.45, height + top * 0.35)
    yield "detail", rod((0, 0, hub[2]), hub, top * 0.14)
    yield "detail", ellipsoid(top * 0.4, hub)
    arm, turn = height * rng.uniform(0.5, 0.58), rng.uniform(0, 90)
    for k in range(4):
        sail: list[Part] = [("detail", box((top * 0.1, top * 0.1, arm), (0, 0, arm / 2), 0.01))]
        wide = arm * 0.17
        sail.append(("extra", box((wide, 0.03, arm * 0.74), (wide * 0.55, 0.02, arm * 0.6), 0.005)))
        for z in np.linspace(0.25, 0.96, 6) * arm:
            sail.append(("detail", box((wide * 1.05, 0.05, 0.05), (wide * 0.55, -0.01, z), 0.01)))
        for s, m in sail:
            yield s, moved(rotated(m, "y", turn + 90 * k), hub)
    yield "extra", box((base * 0.55, 0.1, height * 0.2), (0, -base * 0.93, height * 0.1), 0.02)
    yield (
        "detail",
        moved(
            lathe([(base * 0.8, 0), (base * 1.18, 0), (base * 1.18, 0.08), (base * 0.7, 0.08)], 24),
            (0, 0, height * 0.34),
        ),
    )
    for z in (0.5, 0.72):
        r = base + (top - base) * z
        yield "glass", box((0.42, 0.14, 0.6), (0, -r * 0.95, height * z), 0.03)
