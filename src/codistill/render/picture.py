"""Render: a scene, a camera and a seed in; linear light, depth, labels and instances out.

Four rays a pixel (stratified 2×2, jittered) carry the colour; one more through the pixel's centre carries the ground
truth, exact there and never mixed at edges, and sends the shadow and hemisphere rays for its pixel.
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
        depth: (row, column) metres along the optical axis; inf where the sky is.
        label: (row, column) semantic class; 255 where the sky is (the world gives the sky its own class).
        instance: (row, column) number of the thing; 0 for surroundings and sky.
    """

    linear: Floats
    depth: Floats
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]


@dataclass(frozen=True)
class Centers:
    """What the rays through the pixels' centres meet, flat over row and column.

    Attributes:
        hits: of all pixels. rows: those that hit something. surface: the points they hit.
        number: (pixel,) which surface (thing and material) a pixel shows; -1 for the sky.
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
    """One number per thing and material (N,)."""
    return merged.instance[face] * 4096 + merged.material[face]


def render(merged: MergedScene, camera: Camera, rng: np.random.Generator) -> Picture:
    """The picture of a merged scene.

    Args:
        merged: the scene, with its ray tracer.
        camera: square or not.
        rng: draws the sub-pixel positions and the light samples; the same state gives the same picture.
    """
    shape = (camera.height, camera.width)
    pixels = camera.height * camera.width
    centers = pixel_centers(merged, camera)
    directions = np.concatenate([camera.directions(_offsets(rng, pixels, s)) for s in range(SAMPLES)])
    hits = merged.tracer.first_hits(np.broadcast_to(camera.position, directions.shape), directions)
    color = np.empty_like(directions)
    missed = np.flatnonzero(hits.face < 0)
    color[missed] = merged.scene.sky.radiance(unit(directions[missed]))
    rows = np.flatnonzero(hits.face >= 0)
    if len(rows):
        seen = surface_points(merged, hits, rows, camera.position, directions[rows], camera.pixel_angle)
        lighting = _lighting(merged, seen, rows % pixels, centers, rng, shape)
        albedo, normal = paint(merged, seen)
        shaded = combine(merged, seen, albedo, normal, lighting)
        color[rows] = mirror(merged, seen, normal, shaded, albedo)
    linear = np.minimum(color, 12.0).reshape(SAMPLES, *shape, 3).mean(axis=0)
    hit, face = centers.hits.face >= 0, np.maximum(centers.hits.face, 0)
    label = np.where(hit, merged.label[face], NOTHING).astype(np.uint8)
    instance = np.where(hit, merged.instance[face], 0).astype(np.int32)
    depth = centers.hits.distance.astype(np.float32)
    return Picture(linear, depth.reshape(shape), label.reshape(shape), instance.reshape(shape))


def _offsets(rng: np.random.Generator, pixels: int, sample: int) -> Floats:
    """Where ray `sample` of each pixel passes: jittered in its quarter, (pixels, 2) in -0.5 to 0.5."""
    corner = np.array([sample % 2, sample // 2], np.float32) * 0.5 - 0.5
    return corner + rng.random((pixels, 2), dtype=np.float32) * 0.5


def _spread(rng: np.random.Generator, height: int, width: int) -> Floats:
    """(row * column, 2) in [0, 1), far apart between neighbours: interleaved gradient noise (Jimenez 2014)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shifts = rng.uniform(0, 512, (2, 2))
    waves = [52.9829189 * ((0.06711056 * (x + a) + 0.00583715 * (y + b)) % 1.0) % 1.0 for a, b in shifts]
    return np.stack([wave.ravel() for wave in waves], axis=1).astype(np.float32)


def _lighting(
    merged: MergedScene,
    seen: Surface,
    pixel: NDArray[np.intp],
    centers: Centers,
    rng: np.random.Generator,
    shape: tuple[int, int],
) -> Lighting:
    """Light at all samples: that of a pixel centre on the same surface, or by rays of their own for thin things.

    Args:
        pixel: (N,) flat number of each sample's pixel.
    """
    lights = len(merged.scene.lights)
    spreads = [_spread(rng, *shape) for _ in range(lights + 1)]
    found = gather(merged, centers.surface, [spread[centers.rows] for spread in spreads])
    values = np.zeros((shape[0] * shape[1], lights + 3), np.float32)
    values[centers.rows] = np.concatenate([found.visibility, found.indirect], axis=1)
    normals = np.zeros((len(values), 3), np.float32)
    normals[centers.rows] = centers.surface.normal
    smooth = smooth_lighting(
        values.reshape(*shape, -1), normals.reshape(*shape, 3), centers.number.reshape(shape)
    )
    source = matching_pixel(pixel, surface_number(merged, seen.face), centers.number.reshape(shape))
    every = smooth.reshape(len(values), -1)[np.maximum(source, 0)]
    lost = np.flatnonzero(source < 0)
    if len(lost):
        own = gather(merged, seen.take(lost), [spread[pixel[lost]] for spread in spreads])
        every[lost] = np.concatenate([own.visibility, own.indirect], axis=1)
    return Lighting(every[:, :lights], every[:, lights:])
