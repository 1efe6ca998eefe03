"""Draw bodies as pictures: shaded meshes over the image, and the same people seen from above.

Takes vertices in the camera frame (x right, y down, z forward, metres) and the image's intrinsics; gives uint8
pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codistill.imaging.colours import number_colours
from codistill.imaging.pictures import below, beside
from codistill.render.camera import Camera
from codistill.render.mesh import Floats, unit, vertex_normals
from codistill.render.trace import Tracer

SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
"""Offsets of the rays of a pixel from its centre."""

LIGHT = (0.35, -0.6, -0.72)
"""Direction towards the light in the camera frame: above, to the right, on the camera's side."""

STRENGTH = 0.85
"""Opacity of the meshes over the image."""

_GRIDS = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class MergedBodies:
    """All bodies of an image merged into one mesh.

    Attributes:
        vertices, normals: (all vertices, 3). faces: (all faces, 3).
        person: (all faces,) person of each face. colors: (person, 3), 0 to 1.
    """

    vertices: Floats
    normals: Floats
    faces: np.ndarray
    person: np.ndarray
    colors: Floats

    @classmethod
    def of(cls, vertices: np.ndarray, faces: np.ndarray) -> "MergedBodies":
        """Merge bodies (person, vertex, 3) with the triangles (face, 3) that all people share."""
        people, count = vertices.shape[:2]
        starts = np.arange(people)[:, None, None] * count
        normals = np.concatenate([vertex_normals(body, faces) for body in vertices.astype(np.float32)])
        return cls(
            vertices.reshape(-1, 3).astype(np.float32),
            normals,
            (faces[None] + starts).reshape(-1, 3).astype(np.int32),
            np.repeat(np.arange(people), len(faces)),
            0.35 + 0.65 * number_colours(people).astype(np.float32) / 255.0,
        )


def _shade(
    merged: MergedBodies, tracer: Tracer, origins: Floats, directions: Floats
) -> tuple[Floats, np.ndarray]:
    """Colours (ray, 3), and whether a ray hits a body."""
    hits = tracer.first_hits(origins, directions)
    out = np.zeros((len(directions), 3), np.float32)
    rows = np.flatnonzero(hits.face >= 0)
    face, u, v = hits.face[rows], hits.u[rows][:, None], hits.v[rows][:, None]
    corners = merged.normals[merged.faces[face]]
    normal = unit((1 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2])
    away = np.einsum("ij,ij->i", normal, directions[rows]) > 0
    normal = np.where(away[:, None], -normal, normal)
    towards = np.asarray(LIGHT, np.float32) / np.linalg.norm(LIGHT)
    facing = -np.einsum("ij,ij->i", normal, unit(directions[rows]))
    light = 0.35 + 0.5 * np.clip(normal @ towards, 0, 1) + 0.25 * facing
    out[rows] = merged.colors[merged.person[face]] * light[:, None]
    return np.clip(out, 0, 1), hits.face >= 0


def draw_bodies(
    image: np.ndarray,
    intrinsics: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    *,
    smallest: int = 1,
    largest: int = 1280,
) -> np.ndarray:
    """Draw bodies over an image (row, column, 3).

    Args:
        image: uint8.
        intrinsics: (3, 3), intrinsics of the image.
        vertices: (person, vertex, 3); there may be no people, or people outside of the image.
        faces: (face, 3).
        smallest, largest: limits of the picture's longer side, pixels.
    """
    image, intrinsics = _resized(image, intrinsics, smallest, largest)
    vertices = _finite(vertices)
    if not len(vertices):
        return image
    merged = MergedBodies.of(vertices, faces)
    tracer = Tracer(merged.vertices, merged.faces)
    height, width = image.shape[:2]
    camera = Camera(intrinsics.astype(np.float64), np.eye(4), height, width)
    total = np.zeros((height * width, 3), np.float32)
    covered = np.zeros(height * width, np.float32)
    for offset in SAMPLES:
        directions = camera.directions(np.broadcast_to(np.asarray(offset, np.float32), (height * width, 2)))
        color, hit = _shade(merged, tracer, np.zeros_like(directions), directions)
        total += color / len(SAMPLES)
        covered += hit / np.float32(len(SAMPLES))
    flat = image.reshape(-1, 3).astype(np.float32)
    share = STRENGTH * covered[:, None]
    mixed = flat * (1 - share) + STRENGTH * total * 255.0
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8).reshape(image.shape)


def _finite(vertices: np.ndarray) -> np.ndarray:
    """Keep the people whose vertices are all finite."""
    return vertices[np.isfinite(vertices).all(axis=(1, 2))] if len(vertices) else vertices


def _resized(
    image: np.ndarray, intrinsics: np.ndarray, smallest: int, largest: int
) -> tuple[np.ndarray, np.ndarray]:
    """An image resized so that its longer side is within two limits, and its camera."""
    height, width = image.shape[:2]
    factor = min(max(max(height, width), smallest), largest) / max(height, width)
    if factor == 1.0:
        return image, intrinsics
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scaled = intrinsics.astype(np.float64).copy()
    for row, scale in enumerate((size[0] / width, size[1] / height)):
        scaled[row] *= scale
        scaled[row, 2] += scale / 2 - 0.5
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)), scaled


def draw_from_above(
    intrinsics: np.ndarray, columns: int, vertices: np.ndarray, faces: np.ndarray, *, side: int = 480
) -> np.ndarray:
    """The people seen from above, (side, side, 3) uint8, with a grid in metres.

    The camera is at the bottom and looks upwards.

    Args:
        intrinsics: (3, 3). columns: width of the image in pixels, for the camera's field of view.
        vertices, faces: as for `draw_bodies`.
        side: side of the picture in pixels.
    """
    vertices = _finite(vertices)
    far, half = 4.0, 2.0
    if len(vertices):
        far = max(far, float(vertices[..., 2].max()) + 0.5)
        half = max(half, float(np.abs(vertices[..., 0]).max()) + 0.5)
    behind = 0.08 * far
    metres = max(far + behind, 2 * half)
    scale = side / metres
    middle, bottom = side / 2, side - behind * scale
    canvas = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(canvas)
    _draw_grid(draw, side, scale, middle, bottom, metres)
    _draw_camera(draw, intrinsics, columns, scale, middle, bottom, metres)
    if not len(vertices):
        return np.asarray(canvas)
    merged = MergedBodies.of(vertices, faces)
    tracer = Tracer(merged.vertices, merged.faces)
    picture = np.asarray(canvas).reshape(-1, 3).astype(np.float32)
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    x, z = (across.ravel() - middle + 0.5) / scale, (bottom - down.ravel() - 0.5) / scale
    above = float(merged.vertices[:, 1].min()) - 1.0  # y points down
    origins = np.stack([x, np.full_like(x, above), z], axis=1).astype(np.float32)
    directions = np.broadcast_to(np.array([0, 1, 0], np.float32), origins.shape)
    color, hit = _shade(merged, tracer, origins, directions)
    picture[hit] = color[hit] * 255.0
    return np.clip(picture, 0, 255).astype(np.uint8).reshape(side, side, 3)


def _draw_grid(
    draw: ImageDraw.ImageDraw, side: int, scale: float, middle: float, bottom: float, metres: float
) -> None:
    step = next((one for one in _GRIDS if metres / one <= 10), _GRIDS[-1])
    letters = max(12, round(side / 40))
    font = ImageFont.load_default(size=letters)
    for number in range(int(metres / step) + 1):
        y = bottom - number * step * scale
        draw.line((0, y, side, y), fill=(222, 222, 222))
        draw.text((4, y - letters - 3), f"{number * step:g} m", fill=(130, 130, 130), font=font)
        for sign in (-1, 1):
            x = middle + sign * number * step * scale
            draw.line((x, 0, x, side), fill=(222, 222, 222))


def _draw_camera(
    draw: ImageDraw.ImageDraw,
    intrinsics: np.ndarray,
    columns: int,
    scale: float,
    middle: float,
    bottom: float,
    metres: float,
) -> None:
    """Draw a triangle for the camera, and the two borders of its field of view."""
    focal, center = float(intrinsics[0, 0]), float(intrinsics[0, 2])
    for edge in (-0.5, columns - 0.5):
        slope = (edge - center) / focal
        end = (middle + slope * metres * scale, bottom - metres * scale)
        draw.line((middle, bottom, *end), fill=(150, 170, 210), width=2)
    size = 9
    draw.polygon(
        [(middle, bottom), (middle - size, bottom + size), (middle + size, bottom + size)], fill=(60, 90, 160)
    )


@dataclass(frozen=True)
class Mark:
    """A short text at a pixel (x, y) of the image."""

    text: str
    pixel: tuple[float, float]


def people_picture(
    image: np.ndarray,
    intrinsics: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    marks: Sequence[Mark] = (),
) -> np.ndarray:
    """Bodies over the image (longer side 640 to 1280 pixels), next to the same people seen from above.

    Args:
        image, intrinsics, vertices, faces: as for `draw_bodies`.
        marks: texts over the image, centred above their pixels.
    """
    over = draw_bodies(image, intrinsics, vertices, faces, smallest=640)
    over = _marked(over, marks, over.shape[1] / image.shape[1])
    side = min(max(over.shape[0], 480), 720)
    above = draw_from_above(intrinsics, image.shape[1], vertices, faces, side=side)
    return (below if over.shape[1] > 2 * over.shape[0] else beside)(over, above, gap=8)


def _marked(picture: np.ndarray, marks: Sequence[Mark], scale: float) -> np.ndarray:
    """Write texts on a picture that is `scale` times as large as the image; texts outside of it are left out."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=16)
    for mark in marks:
        x, y = ((value + 0.5) * scale - 0.5 for value in mark.pixel)
        if 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]:
            place = (x, max(y - 14, 18.0))
            draw.text(
                place,
                mark.text,
                fill=(255, 255, 255),
                font=font,
                anchor="mb",
                stroke_width=2,
                stroke_fill=(20, 20, 20),
            )
    return np.asarray(canvas)
