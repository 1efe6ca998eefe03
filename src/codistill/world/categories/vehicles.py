"""Things that drive, sail and fly: car, boat, airplane."""

from collections.abc import Iterator

import numpy as np

from codistill.render.mesh import Mesh
from codistill.world.categories.parts import Part, chance, choose
from codistill.world.shapes import box, cylinder, ellipsoid, extrude, lathe, moved, rod, rotated, torus


def car(rng: np.random.Generator, novel: bool) -> list[Part]:
    length, width = rng.uniform(3.7, 4.6), rng.uniform(1.6, 1.8)
    style = choose(rng, novel, ("sedan", "hatch", "van"), ("pickup",))
    wheel = rng.uniform(0.31, 0.36)
    low, belt, roof = (
        wheel * 0.6,
        rng.uniform(0.8, 0.9),
        rng.uniform(1.4, 1.5) + (0.3 if style == "van" else 0),
    )
    h = length / 2
    hull = [
        (-h, low + 0.1),
        (-h + 0.1, low),
        (h - 0.1, low),
        (h, low + 0.1),
        (h, belt - 0.12),
        (h - 0.08, belt),
        (-h + 0.9, belt),
        (-h + 0.12, belt - 0.12),
        (-h, belt - 0.25),
    ]
    cabin = {
        "sedan": [(-h * 0.42, belt - 0.02), (h * 0.72, belt - 0.02), (h * 0.42, roof), (-h * 0.1, roof)],
        "hatch": [(-h * 0.45, belt - 0.02), (h * 0.97, belt - 0.02), (h * 0.82, roof), (-h * 0.1, roof)],
        "van": [(-h * 0.72, belt - 0.02), (h * 0.98, belt - 0.02), (h * 0.95, roof), (-h * 0.42, roof)],
        "pickup": [(-h * 0.45, belt - 0.02), (h * 0.22, belt - 0.02), (h * 0.16, roof), (-h * 0.12, roof)],
    }[style]
    parts: list[Part] = [("body", _tapered(hull, width, 0.0)), ("body", _tapered(cabin, width * 0.94, 0.16))]
    middle = sum(x for x, _ in cabin) / len(cabin)
    glass = [(x * 0.93 + 0.07 * middle, belt + 0.05 + (z - belt) * 0.78) for x, z in cabin]
    parts.append(("glass", _tapered(glass, width * 0.955, 0.135)))
    front, rear = cabin[0], cabin[1]
    for (bottom, top), sign in (((front, cabin[3]), -1), ((rear, cabin[2]), 1)):
        a, b = np.array(bottom), np.array(top)
        p, q = a + (b - a) * 0.14, a + (b - a) * 0.86
        outline = [(p[0], p[1]), (q[0], q[1]), (q[0] + sign * 0.02, q[1]), (p[0] + sign * 0.02, p[1])]
        parts.append(("glass", extrude(outline if sign < 0 else outline[::-1], width * 0.72, smooth=False)))
    middle = (cabin[2][0] + cabin[3][0]) / 2
    parts.append(
        ("body", box((0.09, width * 0.962, (roof - belt) * 0.8), (middle, 0, (roof + belt) / 2 - 0.08), 0.01))
        if style != "pickup"
        else ("body", box((0.06, width * 0.9, 0.08), (h * 0.25, 0, belt), 0.01))
    )
    if style == "pickup":
        parts.append(("detail", box((h * 0.62, width * 0.84, 0.03), (h * 0.62, 0, belt + 0.004), 0.002)))
    for x in (-h * 0.62, h * 0.6):
        for side in (-1, 1):
            parts += _wheel(x, side * width / 2, side, wheel)
    for side in (-1, 1):
        parts.append(("trim", ellipsoid((0.1, 0.3, 0.16), (-h + 0.05, side * width * 0.34, belt - 0.26))))
        parts.append(("extra", box((0.04, 0.28, 0.14), (h, side * width * 0.36, belt - 0.22), 0.01)))
    parts.append(("detail", box((0.12, width * 0.95, 0.14), (-h - 0.01, 0, low + 0.14), 0.03)))
    parts.append(("detail", box((0.12, width * 0.95, 0.14), (h + 0.01, 0, low + 0.14), 0.03)))
    return [(slot, rotated(mesh, "z", 90)) for slot, mesh in parts]


def _tapered(outline: list[tuple[float, float]], width: float, taper: float) -> Mesh:
    """An outline (x, z) extruded to a width that decreases towards the top by `taper` times the height."""
    points = np.asarray(outline)
    mesh = extrude([tuple(p) for p in points.tolist()], width, smooth=False)
    low, high = points[:, 1].min(), points[:, 1].max()
    vertices = mesh.vertices.copy()
    share = (vertices[:, 2] - low) / (high - low)
    vertices[:, 1] *= 1 - taper * share
    return Mesh(vertices, mesh.faces, False)


def _wheel(x: float, y: float, side: int, radius: float) -> Iterator[Part]:
    tyre = rotated(torus(radius * 0.72, radius * 0.28, 28, 10), "x", 90)
    disc = rotated(cylinder(radius * 0.7, 0.12), "x", 90)
    yield "tyre", moved(tyre, (x, y, radius))
    yield "trim", moved(disc, (x, y + 0.06, radius))
    for k in range(5):
        spoke = moved(box((radius * 0.16, 0.03, radius * 0.6)), (0, 0, radius * 0.32))
        yield "detail", moved(rotated(spoke, "y", 72 * k), (x, y + side * 0.07, radius))


def boat(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    length = rng.uniform(2.4, 3.6)
    wide, deep = length * rng.uniform(0.3, 0.36), length * 0.17
    yield "body", _hull(length, wide, deep, 0.0, 1.0)
    yield "trim", _hull(length, wide * 1.03, deep, 0.86, 1.02)
    yield "extra", moved(_deck(length * 0.96, wide * 0.94), (0, 0, deep * 0.9))
    mast = length * rng.uniform(1.05, 1.3)
    if novel:
        yield "detail", box((wide * 0.6, length * 0.3, deep * 1.1), (0, length * 0.08, deep * 1.4), 0.02)
        yield "trim", box((wide * 0.7, length * 0.34, deep * 0.16), (0, length * 0.08, deep * 2.0), 0.02)
        yield "glass", box((wide * 0.61, length * 0.2, deep * 0.4), (0, length * 0.08, deep * 1.6), 0.01)
        yield "body", moved(cylinder(wide * 0.1, deep * 1.3), (0, length * 0.12, deep * 2.0))
        return
    yield "detail", rod((0, 0, deep * 0.7), (0, 0, mast), 0.03, 0.018)
    yield "detail", rod((0, 0, deep * 1.7), (0, length * 0.46, deep * 1.6), 0.02)
    yield "sail", _sail(0.03, length * 0.45, deep * 1.8, mast * 0.97, wide * 0.18)
    if chance(rng, 0.8):
        yield "sail", _sail(-0.06, -length * 0.46, deep * 1.5, mast * 0.85, wide * 0.12)


def _hull(length: float, wide: float, deep: float, low: float, high: float) -> Mesh:
    """A hull along y with its bow at -y: cross-sections from keel to gunwale, closed on top."""
    y = np.linspace(-1, 1, 17)
    breadth = np.where(
        y < 0.3, np.cos((y - 0.3) / 1.3 * np.pi / 2) ** 0.75, 1 - 0.25 * ((y - 0.3) / 0.7) ** 2
    )
    breadth = np.maximum(breadth, 0.01)
    sheer = 1 + 0.22 * np.clip(-y, 0, 1) ** 2
    t = np.linspace(-1, 1, 13)
    rows = []
    for yi, b, s in zip(y, breadth, sheer, strict=True):
        height = low + (high - low) * np.abs(t) ** 2.2
        outline = np.abs(t) if low == 0.0 else np.full_like(t, 1.0) * np.sign(np.abs(t) + 1e-9)
        x = np.sign(t) * outline**0.55 * b * wide / 2
        if low > 0:
            x = np.sign(t) * b * wide / 2 * np.where(np.abs(t) < 0.05, 0.0, 1.0)
        rows.append(np.column_stack([x, np.full_like(t, yi * length / 2), height * deep * s]))
    vertices = np.concatenate(rows)
    columns = len(t)
    i, j = np.meshgrid(np.arange(len(y) - 1), np.arange(columns), indexing="ij")
    a, b2 = (i * columns + j).ravel(), (i * columns + (j + 1) % columns).ravel()
    faces = np.concatenate([np.stack([a, b2, b2 + columns], 1), np.stack([a, b2 + columns, a + columns], 1)])
    end = (len(y) - 1) * columns
    fan = np.array([[end, end + k, end + k + 1] for k in range(1, columns - 1)])
    return Mesh(vertices.astype(np.float32), np.concatenate([faces, fan]).astype(np.int32), True)


def _deck(length: float, wide: float) -> Mesh:
    y = np.linspace(-1, 1, 17)
    b = np.where(y < 0.3, np.cos((y - 0.3) / 1.3 * np.pi / 2) ** 0.75, 1 - 0.25 * ((y - 0.3) / 0.7) ** 2)
    left = [(-w * wide / 2, v * length / 2) for w, v in zip(b, y, strict=True)]
    right = [(w * wide / 2, v * length / 2) for w, v in zip(b, y, strict=True)]
    outline = right + left[::-1]
    return rotated(extrude(outline, 0.02, smooth=False), "x", -90)


def _sail(mast: float, foot: float, low: float, high: float, belly: float) -> Mesh:
    """A triangular sail between mast and boom, curved by the wind towards +x."""
    u, v = np.meshgrid(np.linspace(0, 1, 10), np.linspace(0, 1, 12), indexing="ij")
    y = mast + (foot - mast) * u * (1 - v)
    x = belly * np.sin(np.pi * u) * (1 - v) ** 0.5 * np.sin(np.pi * np.clip(v * 0.8 + 0.2, 0, 1))
    z = low + (high - low) * v
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(9), np.arange(11), indexing="ij")
    p = (i * 12 + j).ravel()
    faces = np.concatenate([np.stack([p, p + 12, p + 13], 1), np.stack([p, p + 13, p + 1], 1)])
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), True)


def airplane(rng: np.random.Generator, novel: bool) -> list[Part]:
    length = rng.uniform(5.0, 7.0)
    r = length * rng.uniform(0.065, 0.085)
    profile = [
        (0.001, 0),
        (r * 0.55, length * 0.03),
        (r, length * 0.14),
        (r, length * 0.55),
        (r * 0.25, length * 0.96),
        (0.001, length),
    ]
    body = moved(rotated(lathe(profile, 32), "x", -90), (0, -length * 0.45, 0))
    parts: list[Part] = [("body", body)]
    span, chord = length * rng.uniform(0.45, 0.56), length * 0.17
    sweep = choose(rng, novel, (0.0, 0.25), (0.5,))
    wings = [(-0.05 * length, span, chord, 0.0, sweep)]
    if not novel and chance(rng, 0.3):
        wings = [
            (-0.08 * length, span * 0.9, chord, -r * 0.9, 0.0),
            (-0.08 * length, span * 0.9, chord, r * 2.1, 0.0),
        ]
    for y, half, c, z, s in [*wings, (0.44 * length, span * 0.38, chord * 0.6, r * 0.2, 0.3)]:
        for side in (-1, 1):
            parts.append(("trim", _wing(side, half, c, y, z, s)))
    if len(wings) == 2:
        for x in (-span * 0.55, span * 0.55):
            parts.append(
                ("detail", rod((x, -0.03 * length, wings[0][3]), (x, -0.03 * length, wings[1][3]), 0.04))
            )
            parts.append(
                ("detail", rod((x, 0.03 * length, wings[0][3]), (x, 0.03 * length, wings[1][3]), 0.04))
            )
    fin = extrude(
        [(0.0, 0.0), (chord * 0.75, 0.0), (chord * 0.85, chord * 0.9), (chord * 0.45, chord * 0.9)],
        length * 0.014,
    )
    parts.append(("detail", moved(rotated(fin, "z", 90), (0, length * 0.38, r * 0.4))))
    parts.append(("glass", ellipsoid((r * 1.3, length * 0.17, r * 1.1), (0, -length * 0.22, r * 0.8))))
    if sweep == 0.0:
        nose = -length * 0.455
        parts.append(("extra", moved(rotated(cylinder(r * 0.3, r * 0.5, 0.01), "x", 90), (0, nose + 0.1, 0))))
        turn = rng.uniform(0, 180)
        for k in (0, 180):
            blade = moved(ellipsoid((r * 0.25, 0.05, r * 1.6)), (0, 0, r * 0.8))
            parts.append(("extra", moved(rotated(blade, "y", turn + k), (0, nose - 0.05, 0))))
    else:
        for x in (-span * 0.4, span * 0.4):
            pod = rotated(
                lathe(
                    [
                        (0.001, 0),
                        (r * 0.4, 0.02),
                        (r * 0.42, length * 0.07),
                        (r * 0.2, length * 0.14),
                        (0.001, length * 0.14),
                    ],
                    20,
                ),
                "x",
                -90,
            )
            parts.append(("extra", moved(pod, (x, -length * 0.05 + sweep * abs(x), -r * 0.5))))
    ground = r * 1.7
    for x, y in ((-r * 0.9, 0.0), (r * 0.9, 0.0), (0.0, -length * 0.33)):
        parts.append(("detail", rod((x, y, -r * 0.5), (x, y, -ground + r * 0.3), 0.035)))
        parts.append(
            ("tyre", moved(rotated(torus(r * 0.24, r * 0.12, 20, 10), "y", 90), (x, y, -ground + r * 0.36)))
        )
    return [(slot, moved(mesh, (0, 0, ground))) for slot, mesh in parts]


def _wing(side: int, half: float, chord: float, y: float, z: float, sweep: float) -> Mesh:
    """A tapered wing from the fuselage outwards."""
    sections = []
    for t in (0.0, 0.9, 1.0):
        c = chord * (1 - 0.45 * t) * (1.0 if t < 1 else 0.75)
        a = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        section = np.column_stack(
            [
                np.full(14, side * half * t),
                y + sweep * half * t + c / 2 * np.cos(a),
                z + 0.06 * half * t + c * 0.06 * np.sin(a),
            ]
        )
        sections.append(section)
    vertices = np.concatenate(sections)
    k = np.arange(14)
    n = (k + 1) % 14
    faces = [np.stack([r * 14 + k, r * 14 + n, r * 14 + 14 + n], 1) for r in range(2)]
    faces += [np.stack([r * 14 + k, r * 14 + 14 + n, r * 14 + 14 + k], 1) for r in range(2)]
    faces.append(np.array([[28, 28 + i, 29 + i] for i in range(1, 13)]))
    out = np.concatenate(faces)
    return Mesh(vertices.astype(np.float32), (out if side > 0 else out[:, ::-1]).astype(np.int32), True)
