"""Compute surface points from ray hits: position, normal, texture colour and relief."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.materials import Material
from codistill.render.mesh import Floats, Ints, unit
from codistill.render.noise import noise, noise_gradient
from codistill.render.patterns import evaluate_pattern
from codistill.render.scene import MergedScene
from codistill.render.trace import Hits

PLANES = np.array([[1, 2], [0, 2], [0, 1]])
"""The two coordinates that remain if a face is projected along x, y or z."""


@dataclass(frozen=True)
class Surface:
    """N points on surfaces.

    Attributes:
        position, normal: (N, 3); the normal faces the ray.
        view: (N, 3) unit direction towards the eye.
        local: (N, 3) position in the texture.
        face: (N,) index of the face.
        width: (N,) width of a pixel on the surface, in metres.
    """

    position: Floats
    normal: Floats
    view: Floats
    local: Floats
    face: Ints
    width: Floats


def surface_points(
    merged: MergedScene, hits: Hits, rows: NDArray[np.intp], origins: Floats, directions: Floats, angle: float
) -> Surface:
    """The points hit by the rays `rows`.

    Args:
        origins, directions: origins and directions of those rays, (rows, 3); origins may be (3,).
        angle: width of a pixel at distance 1.
    """
    face, u, v = hits.face[rows], hits.u[rows][:, None], hits.v[rows][:, None]
    w = 1.0 - u - v
    distance = hits.distance[rows][:, None]
    position = origins + distance * directions
    corners = merged.normals[face]
    normal = unit(w * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2])
    places = merged.locals[face]
    local = w * places[:, 0] + u * places[:, 1] + v * places[:, 2]
    view = -unit(directions)
    facing = np.einsum("ij,ij->i", normal, view)
    normal = np.where((facing < 0)[:, None], -normal, normal)
    width = distance[:, 0] * np.float32(angle) / np.sqrt(np.maximum(np.abs(facing), 0.12))
    return Surface(position, normal, view, local, face, width)


def by_material(material: NDArray[np.int16]) -> list[tuple[int, NDArray[np.intp]]]:
    """Pairs (material, rows) for each material that occurs."""
    order = np.argsort(material, kind="stable")
    found, starts = np.unique(material[order], return_index=True)
    return [(int(m), rows) for m, rows in zip(found, np.split(order, starts[1:]), strict=True)]


def paint(merged: MergedScene, surface: Surface) -> tuple[Floats, Floats]:
    """Reflectance (N, 3) and normals with relief (N, 3) of surface points."""
    albedo = np.empty_like(surface.position)
    normal = surface.normal.copy()
    for index, rows in by_material(merged.material[surface.face]):
        material = merged.materials[index]
        local, width = surface.local[rows], surface.width[rows]
        albedo[rows] = _color(material, local, merged.axis[surface.face[rows]], width)
        if material.bump > 0:
            normal[rows] = _relief(material, local, surface.normal[rows], width)
    return albedo, normal


def _color(material: Material, local: Floats, axis: NDArray[np.int8], width: Floats) -> Floats:
    first = np.asarray(material.first, np.float32)
    scale = np.float32(material.scale)
    if material.pattern == "plain" or material.second is None:
        out = np.broadcast_to(first, local.shape)
    else:
        offset = np.asarray(material.offset, np.float32)
        points = (local @ material.rotation + offset) / scale
        plane = np.take_along_axis(local, PLANES[axis], axis=1) / scale + offset[:2]
        share = evaluate_pattern(material.pattern, points, plane, width / scale)
        out = first + (np.asarray(material.second, np.float32) - first) * share[:, None].astype(np.float32)
    if material.variation > 0:
        mottle = noise(local * np.float32(0.45 / scale) + np.float32(3.7))
        out = out * (1.0 + np.float32(material.variation) * mottle)[:, None]
    return np.clip(out, 0.0, 0.95)


def _relief(material: Material, local: Floats, normal: Floats, width: Floats) -> Floats:
    frequency = np.float32(1.0 / material.scale)
    slope = noise_gradient(local * frequency)
    fade = np.clip(1.4 - 4.0 * width * frequency, 0.0, 1.0) * np.float32(material.bump)
    slope = slope - np.einsum("ij,ij->i", slope, normal)[:, None] * normal
    return unit(normal - slope * fade[:, None])
