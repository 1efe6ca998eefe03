"""Render: a scene, a camera and a seed in; linear light, depth, labels and instances out.

Four rays a pixel (stratified 2×2, jittered) carry the colour; one more through the pixel's centre carries the ground
truth, so that depth and labels are exact at the pixel centre and never mixed at edges.
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

SAMPLES = 4
ASKING = (0, 3)
"""The samples of a pixel that send secondary rays: the two on its diagonal."""

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
class Truth:
    """Ground truth at pixel centres, flat over row and column, and the normals that guide the average."""

    depth: Floats
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]
    surface: NDArray[np.int32]
    normal: Floats


def ground_truth(merged: MergedScene, camera: Camera) -> Truth:
    """Depth, class and instance at each pixel's centre."""
    directions = camera.directions()
    hits = merged.tracer.first_hits(np.broadcast_to(camera.position, directions.shape), directions)
    hit = hits.face >= 0
    face = np.maximum(hits.face, 0)
    label = np.where(hit, merged.label[face], NOTHING).astype(np.uint8)
    instance = np.where(hit, merged.instance[face], 0).astype(np.int32)
    surface = np.where(hit, merged.instance[face] * 4096 + merged.material[face], -1).astype(np.int32)
    corners = merged.normals[face]
    u, v = hits.u[:, None], hits.v[:, None]
    normal = (1 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2]
    return Truth(hits.distance, label, instance, surface, unit(normal))


def render(merged: MergedScene, camera: Camera, rng: np.random.Generator) -> Picture:
    """The picture of a merged scene.

    Args:
        merged: the scene, with its ray tracer.
        camera: square or not.
        rng: draws the sub-pixel positions and the light samples; the same state gives the same picture.
    """
    height, width = camera.height, camera.width
    pixels = height * width
    truth = ground_truth(merged, camera)
    directions = np.concatenate([camera.directions(_offsets(rng, pixels, s)) for s in range(SAMPLES)])
    origins = np.broadcast_to(camera.position, directions.shape)
    hits = merged.tracer.first_hits(origins, directions)
    color = np.empty_like(directions)
    rows = np.flatnonzero(hits.face >= 0)
    missed = np.flatnonzero(hits.face < 0)
    color[missed] = merged.scene.sky.radiance(unit(directions[missed]))
    if len(rows):
        seen = surface_points(merged, hits, rows, camera.position, directions[rows], camera.pixel_angle)
        lighting = _lighting(merged, seen, rows, truth, rng, (height, width))
        albedo, normal = paint(merged, seen)
        shaded = combine(merged, seen, albedo, normal, lighting)
        color[rows] = mirror(merged, seen, normal, shaded, albedo)
    color = np.minimum(color, 12.0)
    linear = color.reshape(SAMPLES, height, width, 3).mean(axis=0)
    shape = (height, width)
    return Picture(
        linear, truth.depth.reshape(shape), truth.label.reshape(shape), truth.instance.reshape(shape)
    )


def _offsets(rng: np.random.Generator, pixels: int, sample: int) -> Floats:
    """Where ray `sample` of each pixel passes: jittered in its quarter, (pixels, 2) in -0.5 to 0.5."""
    corner = np.array([sample % 2, sample // 2], np.float32) * 0.5 - 0.5
    return corner + rng.random((pixels, 2), dtype=np.float32) * 0.5


def _spread(rng: np.random.Generator, height: int, width: int) -> Floats:
    """(samples * row * column, 2) in [0, 1): far apart within a pixel and between neighbours.

    Interleaved gradient noise over the picture (Jimenez 2014), and from it, for each sample of a pixel, a step of
    the additive sequence of the plastic number (Roberts 2018).
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shifts = rng.uniform(0, 512, (2, 2))
    waves = [52.9829189 * ((0.06711056 * (x + a) + 0.00583715 * (y + b)) % 1.0) % 1.0 for a, b in shifts]
    start = np.stack([wave.ravel() for wave in waves], axis=1).astype(np.float32)
    step = np.array([0.7548777, 0.5698403], np.float32)
    return np.concatenate([(start + s * step) % 1.0 for s in range(SAMPLES)]).astype(np.float32)


def _lighting(
    merged: MergedScene,
    seen: Surface,
    rows: NDArray[np.intp],
    truth: Truth,
    rng: np.random.Generator,
    shape: tuple[int, int],
) -> Lighting:
    """Light at all samples, from secondary rays of the `ASKING` ones, averaged over neighbours on one surface."""
    pixels = shape[0] * shape[1]
    asks = np.flatnonzero(np.isin(rows // pixels, ASKING))
    squares = [_spread(rng, *shape)[rows[asks]] for _ in range(len(merged.scene.lights) + 1)]
    found = gather(merged, seen.take(asks), squares)
    raw = np.concatenate([found.visibility, found.indirect], axis=1)
    surface = merged.instance[seen.face] * 4096 + merged.material[seen.face]
    at = rows[asks] % pixels
    same = surface[asks] == truth.surface[at]
    count = np.bincount(at[same], minlength=pixels)
    total = np.stack([np.bincount(at[same], raw[same, k], pixels) for k in range(raw.shape[1])], axis=1)
    mean = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
    smooth, weight = smooth_lighting(
        mean.reshape(*shape, -1),
        (count > 0).astype(np.float32).reshape(*shape, 1),
        truth.normal.reshape(*shape, 3),
        truth.surface.reshape(shape),
    )
    every = np.zeros((len(rows), raw.shape[1]), np.float32)
    every[asks] = raw
    source = matching_pixel(rows % pixels, surface, np.where(weight > 0, truth.surface.reshape(shape), -1))
    known = source >= 0
    every[known] = smooth.reshape(pixels, -1)[source[known]]
    lost = np.flatnonzero(~known & ~np.isin(rows // pixels, ASKING))
    every[lost] = smooth.reshape(pixels, -1)[rows[lost] % pixels]
    lights = found.visibility.shape[1]
    return Lighting(every[:, :lights], every[:, lights:])
