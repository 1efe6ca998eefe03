"""Compute the light at surface points: soft shadows, highlights, one bounce of indirect light, mirror reflections.

At each pixel centre one shadow ray per light is cast, and one ray in a random direction of the hemisphere. The latter
returns the light of the sky or of the surface that it hits, which amounts to ambient occlusion with colour. These noisy
values are averaged over neighbours on the same surface (`denoise.py`) before the texture is applied.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.lights import cosine_directions
from codistill.render.mesh import Floats, unit
from codistill.render.scene import MergedScene
from codistill.render.surface import Surface
from codistill.render.trace import Hits

SHADOW_OFFSET = np.float32(2e-3)
"""Offset in metres of the origins of secondary rays from the surface, so that no surface shadows itself."""


@dataclass(frozen=True)
class Lighting:
    """Light that reaches N surface points.

    Attributes:
        visibility: (N, L) visible share of each light, 0 or 1 before averaging.
        indirect: (N, 3) indirect light, which is multiplied by the reflectance.
    """

    visibility: Floats
    indirect: Floats


def shadow_origins(surface: Surface) -> Floats:
    """Origins of secondary rays, just above the surface."""
    return surface.position + surface.normal * (SHADOW_OFFSET + surface.width * np.float32(0.3))[:, None]


def gather(merged: MergedScene, surface: Surface, squares: list[Floats]) -> Lighting:
    """Cast one shadow ray per light and one hemisphere ray per point.

    Args:
        squares: (N, 2) stratified uniform numbers; one array per light, then one for the hemisphere.
    """
    scene = merged.scene
    origins = shadow_origins(surface)
    visibility = np.zeros((len(origins), len(scene.lights)), np.float32)
    for number, light in enumerate(scene.lights):
        directions, distance = light.sample(origins, squares[number])
        # Rays to a spherical light end before the light's own surface.
        own = 0.0 if light.position is None else 1.1 * light.radius
        lit = np.flatnonzero(np.einsum("ij,ij->i", directions, surface.normal) > 0)
        blocked = merged.tracer.blocked(origins[lit], directions[lit], distance[lit] - np.float32(own))
        visibility[lit, number] = ~blocked
    directions = cosine_directions(surface.normal, squares[-1])
    indirect = far_light(merged, origins, directions, np.asarray(scene.ambient, np.float32))
    return Lighting(visibility, indirect)


def far_light(merged: MergedScene, origins: Floats, directions: Floats, ambient: Floats) -> Floats:
    """Light (N, 3) that arrives along rays: from the sky, or from the hit surface in its mean colour, roughly lit.

    Near hits are darkened, because they lie in corners and under things, where light is blocked too. Hits beyond
    `scene.reach` metres count as evenly lit by `ambient`.
    """
    hits = merged.tracer.first_hits(origins, directions)
    out = np.empty_like(directions)
    missed = hits.face < 0
    out[missed] = merged.scene.sky.radiance(directions[missed], detailed=False)  # (missed, 3)
    rows = np.flatnonzero(~missed)  # (hit,)
    material = merged.material[hits.face[rows]]
    distance = hits.distance[rows]
    openness = np.clip(distance / np.float32(merged.scene.reach), 0.0, 1.0) * 0.75 + 0.1  # (hit,) 0.1 to 0.85
    light = rough_light(merged, hits, rows, origins[rows], directions[rows])
    color = merged.mean_color[material]
    glow = np.minimum(merged.emission[material], 3.0)  # bounded: a few rays would else give bright dots
    out[rows] = color * (light + ambient) * openness[:, None] + color * glow[:, None]
    return out


def rough_light(
    merged: MergedScene, hits: Hits, rows: NDArray[np.intp], origins: Floats, directions: Floats
) -> Floats:
    """Light (rows, 3) at hit points, from sky and lights, without shadow rays."""
    normal = merged.normals[hits.face[rows], 0]
    flip = np.einsum("ij,ij->i", normal, directions) > 0  # seen from behind
    normal = np.where(flip[:, None], -normal, normal)
    position = origins + hits.distance[rows][:, None] * directions
    total = 0.6 * merged.scene.sky.radiance(normal, detailed=False)
    for light in merged.scene.lights:
        towards, strength = light.towards(position)
        cosine = np.clip(np.einsum("ij,ij->i", towards, normal), 0.0, None)
        total = total + np.outer(cosine * strength * 0.45, np.asarray(light.color, np.float32))
    return total.astype(np.float32)


def combine(
    merged: MergedScene, surface: Surface, albedo: Floats, normal: Floats, lighting: Lighting
) -> Floats:
    """Linear RGB (N, 3) of surface points: reflected light, highlights and emission."""
    material = merged.material[surface.face]
    gloss = np.asarray([m.gloss for m in merged.materials], np.float32)[material]
    shininess = np.asarray([m.shininess for m in merged.materials], np.float32)[material]
    total = lighting.indirect.copy()
    highlight = np.zeros_like(total)
    for number, light in enumerate(merged.scene.lights):
        towards, strength = light.towards(surface.position)
        seen = lighting.visibility[:, number] * strength  # (N,)
        cosine = np.clip(np.einsum("ij,ij->i", towards, normal), 0.0, None)
        color = np.asarray(light.color, np.float32)
        total += np.outer(cosine * seen, color)
        highlight += np.outer(_highlight(towards, surface.view, normal, gloss, shininess) * seen, color)
    return albedo * total + highlight + albedo * merged.emission[material][:, None]


def _highlight(towards: Floats, view: Floats, normal: Floats, gloss: Floats, shininess: Floats) -> Floats:
    half = unit(towards + view)
    cosine = np.clip(np.einsum("ij,ij->i", half, normal), 0.0, 1.0)
    return gloss * (shininess + 8.0) / 60.0 * cosine**shininess  # Blinn-Phong, normalized by (n + 8)


def mirror(merged: MergedScene, surface: Surface, normal: Floats, color: Floats, albedo: Floats) -> Floats:
    """Colours (N, 3) blended with the mirror reflection of the surroundings, for materials that reflect."""
    material = merged.material[surface.face]
    strength = np.asarray([m.mirror for m in merged.materials], np.float32)[material]
    rows = np.flatnonzero(strength > 0)
    if len(rows) == 0:
        return color
    cosine = np.clip(np.einsum("ij,ij->i", surface.view[rows], normal[rows]), 0.0, 1.0)
    share = strength[rows] + (1.0 - strength[rows]) * 0.7 * (1.0 - cosine) ** 5  # Schlick's Fresnel term
    directions = unit(2.0 * cosine[:, None] * normal[rows] - surface.view[rows])  # reflected at the normal
    origins = shadow_origins(surface)[rows]
    image = far_light(merged, origins, directions, np.asarray(merged.scene.ambient, np.float32))
    metal = np.asarray([m.metal for m in merged.materials])[material[rows]]
    image = np.where(metal[:, None], image * albedo[rows] * 1.3, image)
    out = color.copy()
    out[rows] += (image - out[rows]) * share[:, None]
    return out
