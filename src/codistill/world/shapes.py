"""Primitive solids from which things are built: bevelled boxes, solids of revolution, swept shapes, blobs, leaves.

Sizes are in metres, z is up. Every function returns a closed `Mesh` with outward faces, except `leaves`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codistill.render.mesh import Mesh, cross
from codistill.render.noise import noise

Point = Sequence[float] | NDArray[np.floating]


def _mesh(vertices: ArrayLike, faces: ArrayLike, smooth: bool = True) -> Mesh:
    return Mesh(np.asarray(vertices, np.float32), np.asarray(faces, np.int32).reshape(-1, 3), smooth)


def moved(mesh: Mesh, offset: Point) -> Mesh:
    """The mesh shifted by `offset` (3,)."""
    return Mesh(mesh.vertices + np.asarray(offset, np.float32), mesh.faces, mesh.smooth)


def rotated(mesh: Mesh, axis: str, degrees: float) -> Mesh:
    """The mesh rotated about the axis `x`, `y` or `z` through the origin."""
    return mesh.transformed(rotation(axis, degrees))


def rotation(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about `x`, `y` or `z`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.eye(3)
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return out


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Join several meshes into one."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=True)]).astype(np.int32),
        meshes[0].smooth,
    )


def box(size: Point, center: Point = (0, 0, 0), bevel: float = 0.01) -> Mesh:
    """A box of `size` (x, y, z) about `center` with chamfered edges, which catch the light as real edges do."""
    half = np.asarray(size, np.float64) / 2
    vertices = _box_corners(half, min(bevel, 0.3 * float(half.min())))
    return Mesh((vertices + np.asarray(center)).astype(np.float32), _box_faces(), smooth=False)


_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
_ACROSS = 1 - np.eye(3)


def _box_corners(half: NDArray[np.float64], cut: float) -> NDArray[np.float64]:
    """Vertices (24, 3): three per corner, each moved inwards along two axes; index = axis * 8 + corner."""
    return (_SIGNS * (half - cut * _ACROSS)[:, None]).reshape(24, 3)


@lru_cache(maxsize=1)
def _box_faces() -> NDArray[np.int32]:
    """Faces (44, 3) of six sides, twelve edges and eight corners, facing outwards."""
    number = {tuple(s): i for i, s in enumerate(_SIGNS.tolist())}
    polygons: list[list[int]] = []
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        for s in (-1, 1):
            ring = []
            for t, u in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                corner = [0, 0, 0]
                corner[a], corner[b], corner[c] = s, t, u
                ring.append(a * 8 + number[tuple(corner)])
            polygons.append(ring)
            for t in (-1, 1):
                corner = [0, 0, 0]
                corner[b], corner[c], corner[a] = s, t, -1
                low = number[tuple(corner)]
                corner[a] = 1
                high = number[tuple(corner)]
                polygons.append([b * 8 + low, c * 8 + low, c * 8 + high, b * 8 + high])
    polygons += [[i, 8 + i, 16 + i] for i in range(8)]
    faces = np.asarray([[p[0], p[k], p[k + 1]] for p in polygons for k in range(1, len(p) - 1)], np.int32)
    triangles = _box_corners(np.ones(3), 0.2)[faces]
    outward = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    inward = np.einsum("fk,fk->f", outward, triangles.mean(axis=1)) < 0
    faces[inward] = faces[inward][:, ::-1]
    faces.setflags(write=False)
    return faces


def lathe(profile: Sequence[tuple[float, float]], segments: int = 28, smooth: bool = True) -> Mesh:
    """A solid of revolution about z, whose outside profile is (radius, height) points from bottom to top.

    The profile of a hollow solid (a cup) is one line: up on the outside, over the rim, down on the inside.
    """
    points = np.asarray(profile, np.float64)
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate(
        [np.column_stack([ring * r, np.full(segments, z)]) for r, z in points]
        + [np.array([[0, 0, points[0, 1]], [0, 0, points[-1, 1]]])]
    )
    return _mesh(vertices, _round_faces(len(points), segments), smooth)


def _round_faces(rings: int, segments: int) -> NDArray[np.int64]:
    """Faces between rings of vertices, and faces of both ends, whose centres are the last two vertices."""
    k = np.arange(segments)
    n = (k + 1) % segments
    faces = []
    for a in range(0, (rings - 1) * segments, segments):
        b = a + segments
        faces += [np.stack([a + k, a + n, b + n], 1), np.stack([a + k, b + n, b + k], 1)]
    end = rings * segments
    faces += [
        np.stack([n, k, np.full(segments, end)], 1),
        np.stack([end - segments + k, end - segments + n, np.full(segments, end + 1)], 1),
    ]
    return np.concatenate(faces)


def cylinder(
    radius: float, height: float, top: float | None = None, segments: int = 24, bevel: float = 0.004
) -> Mesh:
    """A (tapered) cylinder standing on z = 0, with chamfered rims."""
    top = radius if top is None else top
    b = min(bevel, 0.25 * height, 0.4 * max(radius, 1e-4))
    low, high = max(radius - b, 1e-4), max(top - b, 1e-4)
    return lathe([(low, 0), (radius, b), (max(top, 1e-4), height - b), (high, height)], segments)


def rod(start: Point, end: Point, radius: float, end_radius: float | None = None, segments: int = 12) -> Mesh:
    """A round bar between two points."""
    return tube(np.array([start, end]), [radius, radius if end_radius is None else end_radius], segments)


def bar(start: Point, end: Point, width: float, depth: float | None = None) -> Mesh:
    """A square bar between two points."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(b - a))
    mesh = box((width, width if depth is None else depth, length), bevel=0.15 * width)
    axis = (b - a) / length
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 1.0, 0])
    y = np.cross(axis, helper)
    y /= np.linalg.norm(y)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = np.cross(y, axis), y, axis, (a + b) / 2
    return mesh.transformed(matrix)


def tube(path: ArrayLike, radius: float | ArrayLike, segments: int = 12) -> Mesh:
    """A round bar along a path (N, 3), closed at both ends; the radius is a number or given per point."""
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.eye(3)[np.abs(tangent[0]).argmin()]
    side = np.cross(tangent[0], helper)
    sides = np.empty_like(points)
    for row, axis in enumerate(tangent):
        side = side - axis * (side @ axis)
        side = side / np.sqrt(side @ side)
        sides[row] = side
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    around = (
        np.cos(angles)[None, :, None] * sides[:, None]
        + np.sin(angles)[None, :, None] * cross(tangent, sides)[:, None]
    )
    vertices = (points[:, None] + radii[:, None, None] * around).reshape(-1, 3)
    return _mesh(np.concatenate([vertices, points[:1], points[-1:]]), _round_faces(len(points), segments))


def torus(major: float, minor: float, segments: int = 28, around: int = 8) -> Mesh:
    """A ring lying in the x-y plane."""
    a, b = np.meshgrid(np.arange(segments), np.arange(around), indexing="ij")
    u, v = 2 * np.pi * a / segments, 2 * np.pi * b / around
    r = major + minor * np.cos(v)
    vertices = np.stack([r * np.cos(u), r * np.sin(u), minor * np.sin(v)], axis=-1).reshape(-1, 3)
    return _mesh(vertices, _grid_faces(segments, around, wrap_rows=True))


def _grid_faces(rows: int, columns: int, wrap_rows: bool) -> NDArray[np.int64]:
    i, j = np.meshgrid(np.arange(rows if wrap_rows else rows - 1), np.arange(columns), indexing="ij")
    i2, j2 = (i + 1) % rows, (j + 1) % columns
    a, b, c, d = (x.ravel() for x in (i * columns + j, i2 * columns + j, i2 * columns + j2, i * columns + j2))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def ellipsoid(size: float | Point, center: Point = (0, 0, 0), square: float = 1.0, detail: int = 14) -> Mesh:
    """An ellipsoid of full `size` (x, y, z); with `square` < 1 a boxier superellipsoid, e.g. a cushion or a stone."""
    half = np.broadcast_to(np.asarray(size, np.float64), 3) / 2
    latitude = np.linspace(-np.pi / 2, np.pi / 2, detail)
    longitude = np.linspace(0, 2 * np.pi, 2 * detail, endpoint=False)

    def power(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sign(x) * np.abs(x) ** square

    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    vertices = np.stack(
        [
            power(np.cos(lat)) * power(np.cos(lon)),
            power(np.cos(lat)) * power(np.sin(lon)),
            power(np.sin(lat)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    faces = _grid_faces(detail, 2 * detail, wrap_rows=False)[:, ::-1]
    return _mesh(vertices * half + np.asarray(center), faces)


def blob(size: float | Point, center: Point, seed: float, rough: float = 0.2, detail: int = 16) -> Mesh:
    """An ellipsoid with bumps, e.g. foliage, a stone or snow; `seed` determines the bumps, `rough` their height."""
    ball = ellipsoid(2.0, detail=detail)
    bumps = noise((ball.vertices * 0.35 + np.float32(seed)).astype(np.float32))
    half = np.broadcast_to(np.asarray(size, np.float64), 3) / 2
    vertices = ball.vertices * (1.0 + rough * bumps)[:, None] * half + np.asarray(center)
    return _mesh(vertices, ball.faces)


def extrude(outline: Sequence[tuple[float, float]], depth: float, smooth: bool = True) -> Mesh:
    """Extrude a simple polygon in (x, z), counter-clockwise seen from -y, to the thickness `depth` along y."""
    points = np.asarray(outline, np.float64)
    count = len(points)
    front = np.column_stack([points[:, 0], np.full(count, -depth / 2), points[:, 1]])
    back = front + np.array([0, depth, 0])
    cap = np.asarray(_triangulate(points))
    k = np.arange(count)
    n = (k + 1) % count
    rim = np.concatenate([np.stack([k, count + n, n], 1), np.stack([k, count + k, count + n], 1)])
    vertices = np.concatenate([front, back, front, back])
    faces = np.concatenate([rim, cap + 2 * count, cap[:, ::-1] + 3 * count])
    return _mesh(vertices, faces, smooth)


def _triangulate(points: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    """Triangulate a simple counter-clockwise polygon (N, 2) by ear clipping."""

    def area(a: int, b: int, c: int) -> float:
        p, q, r = points[a], points[b], points[c]
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    left = list(range(len(points)))
    out: list[tuple[int, int, int]] = []
    while len(left) > 3:
        for i, b in enumerate(left):
            a, c = left[i - 1], left[(i + 1) % len(left)]
            inside = (k for k in left if k not in (a, b, c))
            if area(a, b, c) > 1e-12 and not any(
                area(a, b, k) >= 0 and area(b, c, k) >= 0 and area(c, a, k) >= 0 for k in inside
            ):
                break
        else:
            i, a, b, c = 0, left[-1], left[0], left[1]
        out.append((a, b, c))
        left.pop(i)
    out.append((left[0], left[1], left[2]))
    return out


def leaves(
    rng: np.random.Generator, count: int, size: float, place: Callable[[int], NDArray[np.float64]]
) -> Mesh:
    """`count` small bent leaves of about `size`, at the points `place(count)` (count, 3), with random rotations."""
    centers = place(count)
    forward = rng.standard_normal((count, 3))
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    side = np.cross(forward, rng.standard_normal((count, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, forward)
    s = size * rng.uniform(0.7, 1.3, (count, 1))
    tip, tail = centers + forward * s, centers - forward * s
    left, right = centers + (side * 0.45 + up * 0.15) * s, centers - (side * 0.45 - up * 0.15) * s
    vertices = np.stack([tail, left, tip, right], axis=1).reshape(-1, 3)
    base = 4 * np.arange(count)[:, None]
    faces = np.concatenate([base + np.array([0, 2, 1]), base + np.array([0, 3, 2])])
    return _mesh(vertices, faces, smooth=False)
