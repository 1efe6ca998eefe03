"""Small things: book, box, ball, laptop."""

from collections.abc import Iterator

import numpy as np

from codistill.render.mesh import Mesh
from codistill.world.categories.parts import Part, choose
from codistill.world.shapes import box, ellipsoid, lathe, moved, rotated, torus, tube


def book(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width, tall, thick = rng.uniform(0.13, 0.18), rng.uniform(0.19, 0.26), rng.uniform(0.02, 0.05)
    style = choose(rng, novel, ("closed", "stack", "standing"), ("open",))
    if style == "open":
        for side in (-1, 1):
            cover = rotated(box((width, tall, 0.004), (side * width / 2, 0, 0.002), 0.001), "y", -side * 4)
            yield "body", cover
            page = _page(width * 0.95, tall * 0.95, thick * 0.8, side)
            yield "trim", page
        return
    if style == "standing":
        yield from _row(rng, width, tall)
        return
    yield from _volume(width, tall, thick, ("body", "trim"))
    if style == "stack":
        z = thick
        for slots in (("detail", "trim"), ("extra", "trim"))[: int(rng.integers(1, 3))]:
            t = rng.uniform(0.02, 0.045)
            upper = _volume(width * rng.uniform(0.8, 0.98), tall * rng.uniform(0.8, 0.98), t, slots)
            angle = rng.uniform(-25, 25)
            for slot, m in upper:
                yield slot, moved(rotated(m, "z", angle), (0, 0, z))
            z += t


def _row(rng: np.random.Generator, width: float, tall: float) -> list[Part]:
    """Three to five upright books side by side, with their spines to the front."""
    parts: list[Part] = []
    x = 0.0
    for k in range(int(rng.integers(3, 6))):
        t, high = rng.uniform(0.02, 0.045), tall * rng.uniform(0.8, 1.0)
        slots = (("body", "detail", "extra")[k % 3], "trim")
        for slot, mesh in _volume(width * rng.uniform(0.85, 1.0), high, t, slots):
            upright = rotated(rotated(moved(mesh, (0, high / 2, 0)), "x", 90), "z", 90)
            parts.append((slot, moved(upright, (x, 0, 0))))
        x += t
    return [(slot, moved(mesh, (-x / 2, 0, 0))) for slot, mesh in parts]


def _volume(width: float, tall: float, thick: float, slots: tuple[str, str]) -> Iterator[Part]:
    cover = 0.004
    yield slots[0], box((width, tall, cover), (0, 0, cover / 2), 0.001)
    yield slots[0], box((width, tall, cover), (0, 0, thick - cover / 2), 0.001)
    yield slots[0], box((cover, tall, thick), (-width / 2, 0, thick / 2), 0.001)
    yield slots[1], box((width * 0.95, tall * 0.96, thick - 2 * cover), (-width * 0.01, 0, thick / 2), 0.001)


def _page(width: float, tall: float, thick: float, side: int) -> Mesh:
    """Half of an open book, whose pages rise and fall from the fold to the edge."""
    t = np.linspace(0, 1, 10)
    x = side * width * t
    z = 0.006 + thick * np.sin(np.pi * np.minimum(1.0, t * 0.85 + 0.12)) ** 0.6
    rows = []
    for xi, zi in zip(x, z, strict=True):
        rows.append([[xi, -tall / 2, 0.004], [xi, -tall / 2, zi], [xi, tall / 2, zi], [xi, tall / 2, 0.004]])
    vertices = np.asarray(rows).reshape(-1, 3)
    faces = []
    for i in range(len(x) - 1):
        for j in range(4):
            a, b, c, d = i * 4 + j, (i + 1) * 4 + j, (i + 1) * 4 + (j + 1) % 4, i * 4 + (j + 1) % 4
            faces += [[a, b, c], [a, c, d]]
    end = 4 * (len(x) - 1)
    faces += [[0, 1, 2], [0, 2, 3], [end, end + 2, end + 1], [end, end + 3, end + 2]]
    out = np.asarray(faces)
    return Mesh(vertices.astype(np.float32), (out if side > 0 else out[:, ::-1]).astype(np.int32), True)


def carton(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    size = rng.uniform(0.22, 0.5, 3) * [1.0, 0.85, 0.75]
    w, d, h = (float(s) for s in size)
    t = 0.012
    style = choose(rng, novel, ("closed", "open"), ("crate",))
    if style == "crate":
        yield "body", box((w, d, t), (0, 0, t / 2), 0.002)
        for z in np.linspace(0.16, 0.86, 3) * h:
            for s in (-1, 1):
                yield "body", box((w, t, h * 0.24), (0, s * d / 2, z), 0.003)
                yield "body", box((t, d, h * 0.24), (s * w / 2, 0, z), 0.003)
        for sx in (-1, 1):
            for sy in (-1, 1):
                yield "trim", box((0.035, 0.035, h), (sx * (w / 2 - 0.02), sy * (d / 2 - 0.02), h / 2), 0.004)
        return
    if style == "closed":
        yield "body", box((w, d, h), (0, 0, h / 2), 0.006)
        yield "trim", box((w * 1.004, d * 0.16, h * 0.25), (0, 0, h * 0.877), 0.001)
        return
    yield "body", box((w, d, t), (0, 0, t / 2), 0.002)
    for s in (-1, 1):
        yield "body", box((w, t, h), (0, s * (d - t) / 2, h / 2), 0.003)
        yield "body", box((t, d, h), (s * (w - t) / 2, 0, h / 2), 0.003)
        flap = moved(box((w * 0.98, d * 0.45, 0.006), bevel=0.001), (0, s * d * 0.225, 0))
        yield "body", moved(rotated(flap, "x", -s * rng.uniform(-20, 50)), (0, s * d / 2, h))
        flap = moved(box((w * 0.45, d * 0.98, 0.006), bevel=0.001), (s * w * 0.225, 0, 0))
        yield "body", moved(rotated(flap, "y", s * rng.uniform(-20, 50)), (s * w / 2, 0, h))


def ball(rng: np.random.Generator, novel: bool) -> list[Part]:
    radius = rng.uniform(0.06, 0.16)
    style = choose(rng, novel, ("beach", "seams", "bands"), ("spots",))
    center = (0.0, 0.0, radius)
    parts: list[Part] = []
    if style == "beach":
        for k in range(6):
            parts.append((("body", "trim", "detail")[k % 3], _gore(radius, k, 6)))
        parts = [(slot, moved(m, center)) for slot, m in parts]
        parts.append(("extra", ellipsoid((radius * 0.5, radius * 0.5, radius * 0.1), (0, 0, 1.96 * radius))))
    elif style == "seams":
        parts.append(("body", ellipsoid(2 * radius, center, detail=24)))
        for axis, turn in (("x", 0), ("x", 90), ("y", 90)):
            ring = torus(radius, radius * 0.03, 48, 8)
            parts.append(("trim", moved(rotated(ring, axis, turn), center)))
        for side in (-1, 1):
            a = np.linspace(0, 2 * np.pi, 49)
            h = side * radius * (0.55 + 0.22 * np.cos(2 * a))
            r = np.sqrt(radius**2 - h**2)
            path = np.column_stack([r * np.cos(a), r * np.sin(a), h])
            parts.append(("trim", moved(tube(path, radius * 0.03, 8), center)))
    elif style == "bands":
        parts.append(("body", ellipsoid(2 * radius, center, detail=24)))
        for low in (-0.15, 0.45, -0.75):
            z = np.linspace(low, low + 0.3, 6) * radius
            r = np.sqrt(np.maximum(radius**2 - z**2, 0)) * 1.006
            parts.append(
                (
                    "trim",
                    moved(
                        lathe([(r[0] * 0.9, z[0]), *zip(r, z, strict=True), (r[-1] * 0.9, z[-1])], 40), center
                    ),
                )
            )
    else:
        parts.append(("body", ellipsoid(2 * radius, center, detail=24)))
        golden = np.pi * (3 - np.sqrt(5))
        for k in range(24):
            z = 1 - 2 * (k + 0.5) / 24
            r = np.sqrt(1 - z * z)
            at = np.array([r * np.cos(golden * k), r * np.sin(golden * k), z]) * radius * 0.575 + center
            parts.append(("trim", ellipsoid(radius * 0.9, at, detail=12)))
    tilt = (rng.uniform(0, 360), rng.uniform(-40, 40))
    return [
        (s, moved(rotated(rotated(moved(m, (0, 0, -radius)), "x", tilt[1]), "z", tilt[0]), center))
        for s, m in parts
    ]


def _gore(radius: float, number: int, count: int) -> Mesh:
    """One sector of a sphere, a closed wedge."""
    lat = np.linspace(-np.pi / 2, np.pi / 2, 20)
    lon = 2 * np.pi * (number + np.linspace(0, 1, 9)) / count
    a, b = np.meshgrid(lat, lon, indexing="ij")
    vertices = radius * np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=-1)
    rows, columns = a.shape
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    p = (i * columns + j).ravel()
    faces = np.concatenate(
        [np.stack([p, p + 1, p + columns + 1], 1), np.stack([p, p + columns + 1, p + columns], 1)]
    )
    return Mesh(vertices.reshape(-1, 3).astype(np.float32), faces.astype(np.int32), True)


def laptop(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width, depth, thick = rng.uniform(0.3, 0.38), rng.uniform(0.21, 0.26), 0.016
    angle = choose(rng, novel, (100.0, 110.0, 118.0), (135.0, 75.0))
    yield "body", box((width, depth, thick), (0, 0, thick / 2), 0.004)
    rows, columns = 5, 12
    key_w, key_d = width * 0.86 / columns, depth * 0.46 / rows
    for r in range(rows):
        for c in range(columns):
            x, y = -width * 0.43 + key_w * (c + 0.5), depth * 0.4 - key_d * (r + 0.5)
            yield "trim", box((key_w * 0.82, key_d * 0.8, 0.005), (x, y, thick + 0.002), 0.001)
    yield "trim", box((width * 0.3, depth * 0.25, 0.002), (0, -depth * 0.3, thick + 0.0005), 0.0005)
    lid: list[Part] = [("body", box((width, 0.009, depth), (0, 0, depth / 2), 0.003))]
    lid.append(("screen", box((width * 0.92, 0.003, depth * 0.86), (0, -0.005, depth * 0.51), 0.0005)))
    for k in range(int(rng.integers(2, 5))):
        w, h = width * rng.uniform(0.15, 0.4), depth * rng.uniform(0.1, 0.3)
        x, z = rng.uniform(-0.22, 0.22) * width, depth * rng.uniform(0.3, 0.7)
        lid.append((("detail", "extra")[k % 2], box((w, 0.0012, h), (x, -0.0068 - 0.0012 * k, z), 0.0002)))
    for s, m in lid:
        yield s, moved(rotated(m, "x", 90 - angle), (0, depth / 2, thick * 0.7))
