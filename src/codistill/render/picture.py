"""Render a picture by ray casting: a scene, a camera and a seed in; linear radiance, depth, labels, instances out.

Four rays per pixel (stratified 2×2, jittered) determine visibility. One more ray through the pixel's centre gives the
ground truth, which is exact there and never mixed at edges; from its hit the shadow and hemisphere rays of the pixel
start. As in multi-sample antialiasing, a pixel whose rays all meet one surface is shaded once, at its centre (patterns
are filtered over the pixel's width). At edges every ray is shaded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.camera import Camera
from codistill.render.denoise import matching_pixel, smooth_lighting
from codistill.render.mesh import Floats, unit
from codistill.render.scene import MergedScene
from codistill.render.shade import Lighting, combine, gather, mirror
from codistill.render.surface import Surface, paint, surface_points
from codistill.render.trace import Hits

SAMPLES = 4
NOTHING = 255


@dataclass(frozen=True)
class Picture:
    """A rendered view.

    Attributes:
        linear: (row, column, 3) radiance.
        depth: (row, column), metres along the optical axis; inf for sky.
        label: (row, column), semantic class; 255 for sky (the world gives the sky its own class).
        instance: (row, column), number of the thing; 0 for surroundings and sky.
    """

    linear: Floats
    depth: Floats
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]


@dataclass(frozen=True)
class Centers:
    """Hits of the rays through the pixels' centres, flat over row and column.

    Attributes:
        hits: hits of all pixels.
        rows: indices of the pixels whose ray hits something.
        surface: the points that are hit.
        number: (pixel,) number of the surface (thing and material) that a pixel shows; -1 for sky.
    """

    hits: Hits
    rows: NDArray[np.intp]
    surface: Surface
    number: NDArray[np.int32]


def pixel_centers(merged: MergedScene, camera: Camera) -> Centers:
    """Trace one ray through each pixel's centre."""
    directions = camera.directions()
    hits = merged.tracer.first_hits(np.broadcast_to(camera.position, directions.shape), directions)
    rows = np.flatnonzero(hits.face >= 0)
    surface = surface_points(merged, hits, rows, camera.position, directions[rows], camera.pixel_angle)
    number = np.full(len(directions), -1, np.int32)
    number[rows] = surface_number(merged, surface.face)
    return Centers(hits, rows, surface, number)


def surface_number(merged: MergedScene, face: NDArray[np.int32]) -> NDArray[np.int32]:
    """Surface numbers (N,) of faces: a different number for each combination of thing and material."""
    return merged.instance[face] * 4096 + merged.material[face]


def render(merged: MergedScene, camera: Camera, rng: np.random.Generator) -> Picture:
    """Render the picture of a merged scene.

    Args:
        merged: the scene, with its ray tracer.
        camera: the camera; its picture need not be square.
        rng: draws the sub-pixel positions and the light samples; the same state gives the same picture.
    """
    shape = (camera.height, camera.width)
    pixels = camera.height * camera.width
    centers = pixel_centers(merged, camera)
    directions = np.concatenate([camera.directions(_offsets(rng, pixels, s)) for s in range(SAMPLES)])
    hits = merged.tracer.first_hits(np.broadcast_to(camera.position, directions.shape), directions)
    lit = light_centers(merged, centers, rng, shape)
    inner = _inner_pixels(merged, centers, hits)
    color = np.zeros((SAMPLES, pixels, 3), np.float32)  # four samples per pixel
    color[:, inner] = _center_colors(merged, camera, centers, lit)[inner]
    edge = np.flatnonzero(~np.tile(inner, SAMPLES))  # rays of pixels that show several surfaces
    color.reshape(-1, 3)[edge] = _sample_colors(merged, camera, centers, lit, hits, directions, edge)
    linear = np.minimum(color, 12.0).mean(axis=0).reshape(*shape, 3)  # clipped, so that edges stay smooth
    hit, face = centers.hits.face >= 0, np.maximum(centers.hits.face, 0)
    label = np.where(hit, merged.label[face], NOTHING).astype(np.uint8)
    instance = np.where(hit, merged.instance[face], 0).astype(np.int32)
    depth = centers.hits.distance.astype(np.float32)
    return Picture(linear, depth.reshape(shape), label.reshape(shape), instance.reshape(shape))


def _inner_pixels(merged: MergedScene, centers: Centers, hits: Hits) -> NDArray[np.bool_]:
    """(pixel,) whether all four rays meet the surface of the centre's ray, without a crease between them."""
    pixels = len(centers.number)
    face = hits.face.reshape(SAMPLES, pixels)  # -1: the sky
    number = np.where(face >= 0, surface_number(merged, np.maximum(face, 0)), -1)
    same = (number == centers.number).all(axis=0)  # (pixel,)
    rows = np.flatnonzero(same & (centers.number >= 0))
    normal = merged.normals[centers.hits.face[rows], 0]  # (row, 3)
    for sample in range(SAMPLES):
        other = merged.normals[face[sample, rows], 0]
        same[rows] &= np.einsum("ij,ij->i", normal, other) > 0.9
    return same


def _center_colors(merged: MergedScene, camera: Camera, centers: Centers, lit: Floats) -> Floats:
    """Colours (pixel, 3) at the pixels' centres."""
    color = np.empty((len(centers.number), 3), np.float32)
    missed = np.flatnonzero(centers.number < 0)
    color[missed] = merged.scene.sky.radiance(unit(camera.directions()[missed]))
    if len(centers.rows):
        color[centers.rows] = _shaded(merged, centers.surface, lit[centers.rows])
    return color


def _sample_colors(
    merged: MergedScene,
    camera: Camera,
    centers: Centers,
    lit: Floats,
    hits: Hits,
    directions: Floats,
    edge: NDArray[np.intp],
) -> Floats:
    """Colours (edge, 3) of the rays `edge`, with the lighting of a nearby pixel centre on the same surface.

    Thin things that no nearby centre ray hits get the lighting of the pixel's own centre.
    """
    color = np.empty((len(edge), 3), np.float32)
    hit = hits.face[edge] >= 0
    color[~hit] = merged.scene.sky.radiance(unit(directions[edge[~hit]]))
    rows = edge[hit]
    if len(rows) == 0:
        return color
    seen = surface_points(merged, hits, rows, camera.position, directions[rows], camera.pixel_angle)
    pixel = rows % len(centers.number)  # rays are sample-major
    guide = centers.number.reshape(camera.height, camera.width)
    source = matching_pixel(pixel, surface_number(merged, seen.face), guide)
    color[hit] = _shaded(merged, seen, lit[np.where(source >= 0, source, pixel)])
    return color


def _shaded(merged: MergedScene, surface: Surface, lit: Floats) -> Floats:
    """Colours (N, 3) of surface points under lighting (N, lights + 3)."""
    lights = len(merged.scene.lights)
    albedo, normal = paint(merged, surface)
    color = combine(merged, surface, albedo, normal, Lighting(lit[:, :lights], lit[:, lights:]))
    return mirror(merged, surface, normal, color, albedo)


def _offsets(rng: np.random.Generator, pixels: int, sample: int) -> Floats:
    """Position of ray `sample` within each pixel, jittered in its quarter: (pixels, 2) in -0.5 to 0.5."""
    corner = np.array([sample % 2, sample // 2], np.float32) * 0.5 - 0.5
    return corner + rng.random((pixels, 2), dtype=np.float32) * 0.5


def _spread(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Interleaved gradient noise (Jimenez 2014): numbers (row * column, 2) in [0, 1), far apart between neighbours.

    A third of it is plain noise, so that no grid is visible.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shifts = rng.uniform(0, 512, (2, 2))
    waves = [
        _fraction(52.9829189 * _fraction(0.06711056 * (x + a) + 0.00583715 * (y + b))) for a, b in shifts
    ]
    regular = np.stack([wave.ravel() for wave in waves], axis=1).astype(np.float32)
    return _fraction(regular + rng.random(regular.shape, dtype=np.float32) / 3)


def _fraction(values: Floats) -> Floats:
    """`values % 1`, several times faster."""
    return values - np.floor(values)


def light_centers(
    merged: MergedScene, centers: Centers, rng: np.random.Generator, shape: tuple[int, int]
) -> Floats:
    """Lighting at pixel centres, averaged over neighbours on one surface: (pixel, lights + 3).

    The columns are the visible share of each light, then the indirect light in RGB; zero for sky.
    """
    lights = len(merged.scene.lights)
    values = np.zeros((shape[0] * shape[1], lights + 3), np.float32)  # visible shares, then RGB
    if len(centers.rows) == 0:
        return values
    squares = [_spread(rng, *shape)[centers.rows] for _ in range(lights + 1)]
    found = gather(merged, centers.surface, squares)
    values[centers.rows] = np.concatenate([found.visibility, found.indirect], axis=1)
    normals = np.zeros((len(values), 3), np.float32)
    normals[centers.rows] = centers.surface.normal
    smooth = smooth_lighting(
        values.reshape(*shape, -1), normals.reshape(*shape, 3), centers.number.reshape(shape)
    )
    return smooth.reshape(len(values), -1)
