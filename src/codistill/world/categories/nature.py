"""Things that grow, and a snowman: tree, plant, cactus, mushroom, pumpkin, snowman."""

from collections.abc import Iterator

import numpy as np

from codistill.render.mesh import Mesh
from codistill.world.categories.parts import Part, chance, choose, rounded
from codistill.world.shapes import blob, cylinder, ellipsoid, lathe, leaves, moved, rod, rotated, torus, tube


def tree(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    style = choose(rng, novel, ("broad", "conifer", "poplar"), ("palm",))
    height = rng.uniform(3.0, 5.5)
    if style == "conifer":
        yield from _conifer(rng, height)
        return
    if style == "palm":
        yield from _palm(rng, height)
        return
    trunk = height * rng.uniform(0.28, 0.42)
    thick = height * 0.024
    yield (
        "trim",
        tube(
            [(0, 0, 0), (0, 0, thick), (0.05, 0, trunk * 0.6), (0, 0.04, trunk * 1.4)],
            [thick * 1.9, thick * 1.2, thick, thick * 0.6],
        ),
    )
    crown = height - trunk
    wide = crown * (0.42 if style == "poplar" else rng.uniform(0.85, 1.1))
    clumps = int(rng.integers(5, 9))
    centers, sizes = [], []
    for k in range(clumps):
        a = 2.4 * k + rng.uniform(-0.4, 0.4)
        level = (k + 0.5) / clumps
        r = wide * 0.28 * np.sqrt(max(0.05, 1 - (2 * level - 0.9) ** 2))
        centers.append([r * np.cos(a), r * np.sin(a), trunk + crown * (0.16 + 0.66 * level)])
        sizes.append(wide * rng.uniform(0.52, 0.68) * (1.15 - 0.45 * level))
        yield (
            "body",
            blob((sizes[-1], sizes[-1], sizes[-1] * 0.85), centers[-1], rng.uniform(0, 50), 0.25, 12),
        )
        yield "trim", rod((0, 0, trunk * 0.9), centers[-1], thick * 0.5, thick * 0.15, 6)
    yield "body", _leaf_shell(rng, np.array(centers), np.array(sizes), 2600, height * 0.024)


def _leaf_shell(
    rng: np.random.Generator, centers: np.ndarray, sizes: np.ndarray, count: int, size: float
) -> Mesh:
    def place(n: int) -> np.ndarray:
        which = rng.integers(len(centers), size=n)
        direction = rng.standard_normal((n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        reach = sizes[which] * 0.5 * rng.uniform(0.92, 1.15, n)
        return centers[which] + direction * reach[:, None] * [1, 1, 0.85]

    return leaves(rng, count, size, place)


def _conifer(rng: np.random.Generator, height: float) -> Iterator[Part]:
    yield "trim", rod((0, 0, 0), (0, 0, height * 0.5), height * 0.03, height * 0.015)
    tiers, wide = int(rng.integers(4, 7)), height * rng.uniform(0.22, 0.3)
    low = height * 0.14
    for k in range(tiers):
        t = k / tiers
        z, r = low + (height - low) * t, wide * (1 - t * 0.85)
        tall = (height - low) / tiers * 1.6
        a = np.arange(20)
        jag = 1 + 0.16 * np.where(a % 2, 1, -1) + rng.uniform(-0.05, 0.05, 20)
        skirt = lathe([(0.01, z + tall * 0.12), (r, z), (r * 0.5, z + tall * 0.48), (0.012, z + tall)], 20)
        vertices = skirt.vertices.copy()
        vertices[20:40, :2] *= jag[:, None].astype(np.float32)
        yield "body", Mesh(vertices, skirt.faces, False)

    def place(n: int) -> np.ndarray:
        t = rng.random(n) ** 1.3 * 0.95
        a = rng.uniform(0, 2 * np.pi, n)
        saw = 1 - (t * tiers % 1.0) * 0.55
        r = wide * (1 - t * 0.85) * saw * rng.uniform(0.85, 1.08, n)
        return np.column_stack([r * np.cos(a), r * np.sin(a), low + (height - low) * t * 0.98 + 0.05])

    yield "body", leaves(rng, 900, height * 0.02, place)


def _palm(rng: np.random.Generator, height: float) -> Iterator[Part]:
    lean = rng.uniform(-0.12, 0.12, 2) * height
    t = np.linspace(0, 1, 9)
    path = np.column_stack([lean[0] * t**2, lean[1] * t**2, height * 0.8 * t])
    yield "trim", tube(path, height * (0.035 - 0.017 * t) * (1 + 0.06 * (np.arange(9) % 2)), 12)
    for k in range(int(rng.integers(9, 13))):
        a, lift = 2.4 * k, rng.uniform(0.05, 0.5)
        s = np.linspace(0, 1, 9)
        length = height * rng.uniform(0.3, 0.38)
        out, up = length * s, length * (lift * 1.8 * s - 1.0 * s**2)
        half = length * 0.11 * np.sin(np.pi * np.clip(s * 0.9 + 0.08, 0, 1))
        mid = np.column_stack([out * np.cos(a), out * np.sin(a), up])
        side = np.array([-np.sin(a), np.cos(a), 0])
        left, right = mid + half[:, None] * side - [0, 0, 0.03], mid - half[:, None] * side - [0, 0, 0.03]
        grid = np.stack([left, mid, right], axis=1).reshape(-1, 3) + path[-1]
        faces = [[3 * i + j, 3 * i + j + 1, 3 * i + j + 4] for i in range(8) for j in range(2)]
        faces += [[3 * i + j, 3 * i + j + 4, 3 * i + j + 3] for i in range(8) for j in range(2)]
        yield "body", Mesh(grid.astype(np.float32), np.asarray(faces, np.int32), False)
    for _ in range(4):
        yield (
            "detail",
            ellipsoid(height * 0.05, path[-1] + rng.uniform(-0.08, 0.08, 3) - [0, 0, 0.08], detail=8),
        )


def _pot(rng: np.random.Generator, radius: float, height: float) -> Iterator[Part]:
    outside = [
        (radius * 0.7, 0),
        (radius * 0.95, height * 0.8),
        (radius * 1.08, height * 0.8),
        (radius * 1.08, height),
    ]
    inside = [(radius * 0.95, height), (radius * 0.93, height * 0.9), (0.001, height * 0.9)]
    yield "trim", lathe([(0.001, 0), *outside, *inside], 32)


def plant(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, pot = rng.uniform(0.1, 0.15), rng.uniform(0.16, 0.26)
    yield from _pot(rng, radius, pot)
    style = choose(rng, novel, ("blades", "bush"), ("broad",))
    if style == "bush":
        size = radius * rng.uniform(2.2, 3.0)
        center = np.array([[0, 0, pot + size * 0.42]])
        yield "body", blob(size * 0.8, center[0], rng.uniform(0, 50), 0.3, 12)
        yield "body", _leaf_shell(rng, center, np.array([size]), 350, radius * 0.26)
        return
    count = int(rng.integers(9, 16))
    for k in range(count):
        a = 2.4 * k + rng.uniform(-0.3, 0.3)
        length, droop = radius * rng.uniform(3.0, 4.6), rng.uniform(0.35, 1.1)
        yield "body", _blade(a, length, droop, radius * (0.16 if style == "blades" else 0.5), pot * 0.88)


def _blade(angle: float, length: float, droop: float, half: float, base: float) -> Mesh:
    s = np.linspace(0, 1, 10)
    bend = droop * s
    steps = length / 9
    out = np.concatenate([[0], np.cumsum(np.sin(bend[1:] + 0.15) * steps)])
    up = np.concatenate([[0], np.cumsum(np.cos(bend[1:] * 1.5) * steps)])
    width = half * np.sin(np.pi * np.clip(s * 0.88 + 0.1, 0, 1))
    mid = np.column_stack([out * np.cos(angle), out * np.sin(angle), base + up])
    side = np.array([-np.sin(angle), np.cos(angle), 0])
    fold = np.column_stack([0 * s, 0 * s, width * 0.35])
    grid = np.stack(
        [mid + width[:, None] * side + fold, mid, mid - width[:, None] * side + fold], axis=1
    ).reshape(-1, 3)
    faces = [[3 * i + j, 3 * i + j + 1, 3 * i + j + 4] for i in range(9) for j in range(2)]
    faces += [[3 * i + j, 3 * i + j + 4, 3 * i + j + 3] for i in range(9) for j in range(2)]
    return Mesh(grid.astype(np.float32), np.asarray(faces, np.int32), True)


def cactus(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    radius, height = rng.uniform(0.06, 0.085), rng.uniform(0.35, 0.6)
    pot = height * 0.35
    yield from _pot(rng, radius * 1.9, pot)
    base = pot * 0.85
    if novel:
        yield "body", _ribbed(radius * 2.6, radius * 2.6, (0, 0, base + radius * 1.1), 14)
        yield "detail", ellipsoid((0.06, 0.06, 0.04), (0, 0, base + radius * 2.4), detail=10)
        return
    yield "body", moved(_column(radius, height), (0, 0, base))
    for side in (-1, 1)[: int(rng.integers(1, 3))]:
        z, reach, up = base + height * rng.uniform(0.3, 0.5), radius * 2.3, height * rng.uniform(0.25, 0.4)
        t = np.linspace(0, np.pi / 2, 7)
        bend = [(side * reach * np.sin(a), 0, z + reach * 0.6 * (1 - np.cos(a))) for a in t]
        path = [
            (0, 0, z),
            *bend[1:],
            (side * reach, 0, z + reach * 0.6 + up),
            (side * reach, 0, z + reach * 0.6 + up + radius * 0.5),
        ]
        yield "body", tube(path, [radius * 0.6] * (len(path) - 1) + [radius * 0.15], 14)
    if chance(rng, 0.5):
        yield "detail", ellipsoid((0.05, 0.05, 0.035), (0, 0, base + height), detail=10)


def _column(radius: float, height: float) -> Mesh:
    z = np.linspace(0, height, 14)
    r = radius * np.where(
        z > height - radius, np.sqrt(np.maximum(1 - ((z - height + radius) / radius) ** 2, 0.0)), 1.0
    )
    mesh = lathe([(max(float(a), 0.002), float(b)) for a, b in zip(r, z, strict=True)], 40)
    angle = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0])
    vertices = mesh.vertices.copy()
    vertices[:, :2] *= (1 + 0.1 * np.cos(10 * angle))[:, None].astype(np.float32)
    return Mesh(vertices, mesh.faces, True)


def _ribbed(width: float, height: float, center: tuple[float, float, float], ribs: int) -> Mesh:
    ball = ellipsoid((width, width, height), detail=24)
    angle = np.arctan2(ball.vertices[:, 1], ball.vertices[:, 0])
    vertices = ball.vertices * (1 - 0.09 * (1 - np.abs(np.cos(ribs * angle / 2))) * 1.6)[:, None]
    return Mesh((vertices + np.asarray(center)).astype(np.float32), ball.faces, True)


def mushroom(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    height = rng.uniform(0.12, 0.3)
    cap = height * rng.uniform(0.38, 0.55)
    stem = height * 0.14
    top = height * (0.32 if not novel else 0.5)
    z = height - top
    yield "trim", lathe(rounded([(stem * 1.25, 0), (stem * 0.9, z * 0.5), (stem * 0.85, z + top * 0.4)]), 28)
    dome = [(stem, z + top * 0.05), (cap * 0.92, z), (cap, z + top * 0.12)]
    dome += [(cap * np.cos(a), z + top * (0.12 + 0.88 * np.sin(a))) for a in np.linspace(0.15, np.pi / 2, 10)]
    yield "body", lathe([(r if r > 1e-3 else 1e-3, h) for r, h in dome], 36)
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(14):
        e = np.arcsin(0.25 + 0.72 * (k + 0.5) / 14)
        a = golden * k
        at = (cap * np.cos(e) * np.cos(a), cap * np.cos(e) * np.sin(a), z + top * (0.12 + 0.88 * np.sin(e)))
        yield "detail", ellipsoid((cap * 0.24, cap * 0.24, cap * 0.12), at, detail=6)
    yield "trim", moved(torus(stem * 1.02, stem * 0.16, 24), (0, 0, z * 0.72))


def pumpkin(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    width = rng.uniform(0.22, 0.4)
    height = width * choose(rng, novel, (0.7, 0.8), (1.1, 0.5))
    body = _ribbed(width, height, (0, 0, height * 0.5), int(rng.integers(9, 13)))
    vertices = body.vertices.copy()
    radial = np.linalg.norm(vertices[:, :2], axis=1) / (width / 2)
    dimple = np.exp(-((radial / 0.35) ** 2)) * height * 0.14
    vertices[:, 2] -= np.sign(vertices[:, 2] - height / 2) * dimple
    yield "body", Mesh(vertices - [0, 0, vertices[:, 2].min()], body.faces, True)
    top = float(vertices[radial < 0.05, 2].max())
    stalk = [(0, 0, top - 0.02), (0.004, 0, top + height * 0.12), (width * 0.07, 0.01, top + height * 0.24)]
    yield "trim", tube(stalk, [width * 0.075, width * 0.045, width * 0.05], 8)


def snowman(rng: np.random.Generator, novel: bool) -> Iterator[Part]:
    r = rng.uniform(0.24, 0.34)
    radii = (r, r * 0.72, r * 0.5) if not novel else (r, r * 0.62)
    z = center = 0.0
    for k, radius in enumerate(radii):
        z += radius * (0.92 if k == 0 else 0.8)
        yield "body", blob(2 * radius, (0, 0, z), rng.uniform(0, 50), 0.05, 16)
        center, z = z, z + radius * 0.8
    head, size = center, radii[-1]
    nose = rotated(cylinder(size * 0.16, size * 0.9, 0.002), "x", 90)
    yield "trim", moved(nose, (0, -size * 0.85, head))
    for side in (-1, 1):
        yield "detail", ellipsoid(size * 0.2, (side * size * 0.36, -size * 0.87, head + size * 0.3), detail=8)
    for k in range(3):
        yield (
            "detail",
            ellipsoid(r * 0.14, (0, -radii[-2] * 0.97, head - size * 1.25 - k * r * 0.26), detail=8),
        )
    top = head + size * 0.75
    yield "extra", moved(cylinder(size * 1.15, size * 0.12), (0, 0, top))
    yield "extra", moved(cylinder(size * 0.72, size * 0.95), (0, 0, top))
    for side in (-1, 1):
        a, b = (
            (side * radii[-2] * 0.8, 0, head - size * 1.1),
            (side * radii[-2] * 2.1, -0.05, head - size * 0.3),
        )
        yield "trim", rod(a, b, 0.016, 0.008, 6)
        c = (side * radii[-2] * 2.2, 0.02, head + size * 0.1)
        yield "trim", rod((side * radii[-2] * 1.75, -0.04, head - size * 0.5), c, 0.009, 0.005, 6)
    yield "trim", moved(torus(size * 0.8, size * 0.16, 24), (0, 0, head - size * 0.72))
