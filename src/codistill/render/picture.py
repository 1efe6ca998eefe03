"""Render: a scene, a camera and a seed in; linear light, depth, labels and instances out.

Four rays a pixel (stratified 2×2, jittered) carry the colour; one more through the pixel's centre carries the ground
truth, so that depth and labels are exact at the pixel centre and never mixed at edges.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.camera import Camera
from codistill.render.denoise import smooth_lighting
from codistill.render.mesh import Floats, unit
from codistill.render.scene import MergedScene
from codistill.render.shade import Lighting, combine, gather, mirror
from codistill.render.surface import Surface, paint, surface_points

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
        squares = [_strata(rng, height, width)[rows] for _ in range(len(merged.scene.lights) + 1)]
        lighting = _averaged(gather(merged, seen, squares), merged, seen, rows, truth, (height, width))
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


def _strata(rng: np.random.Generator, height: int, width: int) -> Floats:
    """(SAMPLES * row * column, 2): each 2×2 block of pixels covers a 4×4 grid of the unit square once."""
    y, x = np.mgrid[0:height, 0:width]
    block = ((x % 2) + 2 * (y % 2)).ravel()
    cells = np.concatenate([(block * SAMPLES + s * 5) % 16 for s in range(SAMPLES)])
    order = rng.permutation(16)
    cells = order[cells]
    corner = np.stack([cells % 4, cells // 4], axis=1).astype(np.float32)
    return (corner + rng.random((len(cells), 2), dtype=np.float32)) * np.float32(0.25)


def _averaged(
    lighting: Lighting,
    merged: MergedScene,
    seen: Surface,
    rows: NDArray[np.intp],
    truth: Truth,
    shape: tuple[int, int],
) -> Lighting:
    """Lighting averaged over each pixel and its neighbours; rays that meet another thing keep their own."""
    pixels = shape[0] * shape[1]
    raw = np.concatenate([lighting.visibility, lighting.indirect], axis=1)
    pixel = rows % pixels
    surface = merged.instance[seen.face] * 4096 + merged.material[seen.face]
    same = surface == truth.surface[pixel]
    at = pixel[same]
    count = np.bincount(at, minlength=pixels)
    total = np.stack([np.bincount(at, raw[same, k], pixels) for k in range(raw.shape[1])], axis=1)
    mean = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
    guide = np.where(count > 0, truth.surface, -1).astype(np.int32)
    smooth = smooth_lighting(
        mean.reshape(*shape, -1), truth.normal.reshape(*shape, 3), guide.reshape(shape)
    ).reshape(pixels, -1)
    raw[same] = smooth[at]
    lights = lighting.visibility.shape[1]
    return Lighting(raw[:, :lights], raw[:, lights:])
