"""Edge-aware filter that averages lighting over neighbouring pixels on one surface (à trous, Dammertz et al. 2010)."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats

STEPS = (1, 2, 4)
"""Distance of the eight neighbours in each pass, in pixels."""


def smooth_lighting(values: Floats, normals: Floats, surface: NDArray[np.int32]) -> Floats:
    """Average values (row, column, k) over neighbours with the same surface number and a similar normal.

    Args:
        values: (row, column, k).
        normals: (row, column, 3) unit normals without relief.
        surface: (row, column) number of the surface; -1 where there is none.
    """
    height, width, _ = values.shape
    for step in STEPS:
        total = values.copy()
        weight = np.ones((height, width, 1), np.float32)
        for dy, dx in ((0, step), (step, -step), (step, 0), (step, step)):
            here, there = _shifted(height, width, dy, dx)
            alike = np.einsum("ijk,ijk->ij", normals[here], normals[there])
            w = np.clip((alike - 0.8) * 5.0, 0.0, 1.0) * (surface[here] == surface[there])
            w = w[..., None].astype(np.float32)
            for one, other in ((here, there), (there, here)):
                total[one] += values[other] * w
                weight[one] += w
        values = total / weight
    return values


def _shifted(height: int, width: int, dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
    there = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    return here, there


def matching_pixel(
    pixel: NDArray[np.intp], surface: NDArray[np.int32], guide: NDArray[np.int32]
) -> NDArray[np.intp]:
    """For each sample a pixel that shows the sample's surface: its own or one of the eight around it; -1 for none.

    Args:
        pixel, surface: (N,) flat pixel index and surface number of samples.
        guide: (row, column) surface number of pixels; -1 where there is none.
    """
    height, width = guide.shape
    flat = guide.ravel()
    source = np.where(flat[pixel] == surface, pixel, -1)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            open_ones = np.flatnonzero(source < 0)
            at = pixel[open_ones]
            row = np.clip(at // width + dy, 0, height - 1)
            column = np.clip(at % width + dx, 0, width - 1)
            near = row * width + column
            good = flat[near] == surface[open_ones]
            source[open_ones[good]] = near[good]
    return source
