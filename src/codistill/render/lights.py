"""Light sources and sky. Lights are sampled over their extent, which gives soft shadows."""

from dataclasses import dataclass

import numpy as np

from codistill.errors import ConfigError
from codistill.render.materials import Color
from codistill.render.mesh import Floats, unit
from codistill.render.noise import noise


@dataclass(frozen=True, kw_only=True)
class Light:
    """A distant light (with a `direction`) or a spherical light (with a `position`).

    Attributes:
        color: linear RGB: the irradiance / π at normal incidence (for a spherical light, at a distance of one metre).
        direction: (3,) towards a distant light, or None.
        position: (3,) in metres, or None.
        radius: radius of a spherical light in metres; for a distant light, the tangent of its angular radius.
    """

    color: Color
    direction: tuple[float, float, float] | None = None
    position: tuple[float, float, float] | None = None
    radius: float = 0.05

    def __post_init__(self) -> None:
        if (self.direction is None) == (self.position is None):
            raise ConfigError("a light has either a direction or a position; give exactly one of them")

    def towards(self, points: Floats) -> tuple[Floats, Floats]:
        """Unit directions (N, 3) from points (N, 3) to the light's centre, and its strength (N,) at the points."""
        if self.direction is not None:
            axis = unit(np.asarray([self.direction], np.float32))
            return np.broadcast_to(axis, points.shape), np.ones(len(points), np.float32)
        towards = np.asarray(self.position, np.float32) - points
        square = np.maximum(np.einsum("ij,ij->i", towards, towards), np.float32(1e-8))
        strength = 1.0 / np.maximum(square, np.float32(self.radius**2 + 1e-4))
        return towards / np.sqrt(square)[:, None], strength

    def sample(self, points: Floats, square: Floats) -> tuple[Floats, Floats]:
        """Unit directions (N, 3) and distances (N,) from points (N, 3) to random points on the light.

        Args:
            points: (N, 3) metres.
            square: (N, 2) uniform in [0, 1), which choose the points on the light's disc.
        """
        angle = (2 * np.pi * square[:, 0]).astype(np.float32)
        reach = (self.radius * np.sqrt(square[:, 1])).astype(np.float32)
        if self.direction is not None:
            axis = unit(np.asarray([self.direction], np.float32))[0]
            side, other = _frame(axis)
            spread = np.outer(reach * np.cos(angle), side) + np.outer(reach * np.sin(angle), other)
            directions = unit((axis + spread).astype(np.float32))
            return directions, np.full(len(points), 1e4, np.float32)
        towards = np.asarray(self.position, np.float32) - points
        side, other = _frames(unit(towards))
        spread = (reach * np.cos(angle))[:, None] * side + (reach * np.sin(angle))[:, None] * other
        towards = towards + spread
        distance = np.sqrt(np.einsum("ij,ij->i", towards, towards))
        return towards / np.maximum(distance, 1e-6)[:, None], distance


def _frame(axis: Floats) -> tuple[Floats, Floats]:
    helper = np.array([0, 0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0, 0])
    side = np.cross(axis, helper)
    side /= np.linalg.norm(side)
    return side.astype(np.float32), np.cross(axis, side).astype(np.float32)


def _frames(axes: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors (N, 3) orthogonal to each axis, computed without branches (Duff et al., JCGT 2017)."""
    x, y, z = axes[:, 0], axes[:, 1], axes[:, 2]
    sign = np.where(z >= 0, np.float32(1), np.float32(-1))
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1.0 + sign * x * x * a, sign * b, -sign * x], axis=1)
    second = np.stack([b, sign + y * y * a, -y], axis=1)
    return first, second


def cosine_directions(normals: Floats, square: Floats) -> Floats:
    """Directions (N, 3) around normals (N, 3), with density cosine / π, from uniform numbers (N, 2)."""
    angle = (2 * np.pi * square[:, 0]).astype(np.float32)
    radius = np.sqrt(square[:, 1]).astype(np.float32)
    side, other = _frames(normals)
    up = np.sqrt(np.maximum(0.0, 1.0 - square[:, 1])).astype(np.float32)
    return (
        (radius * np.cos(angle))[:, None] * side
        + (radius * np.sin(angle))[:, None] * other
        + up[:, None] * normals
    )


@dataclass(frozen=True, kw_only=True)
class Sky:
    """Environment light: a gradient with clouds and a glow around the sun.

    Attributes:
        zenith, horizon, ground: linear RGB radiance from above, from the horizon, and from below.
        cloud: share of the sky covered by clouds, 0 to 1.
        cloud_offset: offset into the noise that forms the clouds.
        sun: (3,) direction of the glow, or None.
        glow: linear RGB of the glow.
    """

    zenith: Color
    horizon: Color
    ground: Color
    cloud: float = 0.0
    cloud_offset: float = 0.0
    sun: tuple[float, float, float] | None = None
    glow: Color = (0.0, 0.0, 0.0)

    def radiance(self, directions: Floats, detailed: bool = True) -> Floats:
        """Linear RGB (N, 3) seen along unit directions (N, 3); `detailed` adds clouds and the glow."""
        up = directions[:, 2]
        zenith, horizon, ground = (
            np.asarray(c, np.float32) for c in (self.zenith, self.horizon, self.ground)
        )
        mix = np.sqrt(np.clip(up, 0.0, 1.0))[:, None]
        out = horizon + (zenith - horizon) * mix
        below = np.clip(-up * 6.0, 0.0, 1.0)[:, None]
        out = out + (ground - out) * below
        if not detailed:
            return out
        if self.cloud > 0:
            plane = directions[:, :2] / np.maximum(up, 0.05)[:, None]
            where = np.stack([plane[:, 0], plane[:, 1] * 1.6, np.full(len(up), self.cloud_offset)], axis=1)
            density = (
                noise((where * 0.22).astype(np.float32)) + noise((where * 0.9).astype(np.float32)) * 0.35
            )
            cover = np.clip((density - 0.9 + 1.5 * self.cloud) * 1.8, 0.0, 1.0) * np.clip(up * 8.0, 0.0, 1.0)
            white = 1.15 * np.maximum(horizon, np.float32(horizon.max() * 0.85))
            out = out + (white - out) * (cover * 0.85)[:, None]
        if self.sun is not None:
            towards = directions @ unit(np.asarray([self.sun], np.float32))[0]
            halo = np.clip(towards, 0.0, 1.0) ** 24 * 0.35 + np.clip(towards, 0.0, 1.0) ** 900 * 6.0
            out = out + halo[:, None] * np.asarray(self.glow, np.float32)
        return out
