"""Things of yard and street: umbrella, barrel, traffic cone."""

from collections.abc import Iterator

import numpy as np

from codistill.render.mesh import Mesh
from codistill.world.categories.parts import Part, chance, choose
from codistill.world.shapes import box, cylinder, lathe, moved, rod, rotated, tube


def umbrella(rng: np.random.Generator, novel: bool) -> list[Part]:
    radius, height = rng.uniform(0.45, 0.6), rng.uniform(0.8, 0.95)
    ribs = choose(rng, novel, (8,), (6, 12))
    rise = radius * rng.uniform(0.4, 0.6)
    parts: list[Part] = []
    for k in range(ribs):
        parts.append((("body", "trim")[k % 2], moved(_panel(radius, rise, k, ribs), (0, 0, height - rise))))
    parts.append(("detail", rod((0, 0, 0.06), (0, 0, height + 0.06), 0.009)))
    hook = [(0.045 * (1 - np.cos(a)), 0, 0.06 - 0.045 * np.sin(a)) for a in np.linspace(0, np.pi * 1.1, 12)]
    parts.append(("extra", tube([(0, 0, 0.16), *hook], 0.013, 10)))
    tilt = rng.uniform(108, 122) if chance(rng, 0.75) else 180
    turned = [(s, rotated(m, "x", tilt)) for s, m in parts]
    floor = min(float(m.vertices[:, 2].min()) for _, m in turned)
    return [(s, moved(m, (0, 0, -floor))) for s, m in turned]


def _panel(radius: float, rise: float, number: int, count: int) -> Mesh:
    """One panel of an umbrella: taut between two ribs, with a concave rim."""
    t, u = np.meshgrid(np.linspace(0.0, 1, 12), np.linspace(0, 1, 9), indexing="ij")
    angle = 2 * np.pi * (number + u) / count
    sag = 4 * u * (1 - u) * t
    reach = radius * t * (1 - 0.07 * sag)
    height = rise * np.cos(t * np.pi * 0.5) - 0.03 * radius * sag * (1 - t)
    vertices = np.stack([reach * np.cos(angle), reach * np.sin(angle), height], axis=-1).reshape(-1, 3)
    columns = u.shape[1]
    i, j = np.meshgrid(np.arange(t.shape[0] - 1), np.arange(columns - 1), indexing="ij")
    p = (i * columns + j).ravel()
    faces = np.concatenate(
        [np.stack([p, p + columns, p + columns + 1], 1), np.stack([p, p + columns + 1, p + 1], 1)]
    )
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), True)


def barrel(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, height = rng.uniform(0.26, 0.34), rng.uniform(0.75, 0.95)
    belly = choose(rng, novel, (1.16, 1.22), (1.0,))
    z = np.linspace(0, height, 15)
    r = radius * (1 + (belly - 1) * np.sin(np.pi * z / height))
    sides = list(zip(r, z, strict=True))
    yield (
        "body",
        lathe(
            [
                (0.001, 0.03),
                (radius * 0.93, 0.03),
                (radius * 0.93, 0.0),
                *sides,
                (radius * 0.93, height),
                (radius * 0.93, height - 0.035),
                (0.001, height - 0.035),
            ],
            40,
        ),
    )
    for share in (0.08, 0.3, 0.7, 0.92):
        at = share * height
        rr = radius * (1 + (belly - 1) * np.sin(np.pi * share)) + 0.004
        yield (
            "trim",
            lathe([(rr - 0.02, at - 0.025), (rr, at - 0.025), (rr, at + 0.025), (rr - 0.02, at + 0.025)], 40),
        )
    if belly == 1.0:
        yield "detail", moved(cylinder(0.04, 0.02), (radius * 0.5, 0, height - 0.04))


def cone(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    h = rng.uniform(0.45, 0.75)
    base, tip = h * 0.24, h * 0.04
    t = 0.03
    foot = base * 2.6
    if novel:
        yield "trim", cylinder(foot / 2, t, segments=6)
    else:
        yield "trim", box((foot, foot, t), (0, 0, t / 2), 0.008)

    def radius(z: float) -> float:
        return base + (tip - base) * (z - t) / (h - t)

    yield "body", lathe([(base, t), (tip, h), (tip * 0.6, h), (tip * 0.6, h - 0.04), (0.001, h - 0.04)], 36)
    for low, high in ((0.32, 0.5), (0.66, 0.8)):
        a, b = low * h, high * h
        yield (
            "detail",
            lathe(
                [
                    (radius(a) - 0.01, a),
                    (radius(a) + 0.003, a),
                    (radius(b) + 0.003, b),
                    (radius(b) - 0.01, b),
                ],
                36,
            ),
        )
