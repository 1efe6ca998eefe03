"""An edge-aware average of lighting between neighbouring pixels on one surface (à trous, Dammertz et al. 2010)."""

import numpy as np
from numpy.typing import NDArray

from codistill.render.mesh import Floats

STEPS = (1, 2)
"""Distance of the eight neighbours in each pass, in pixels."""


def smooth_lighting(values: Floats, normals: Floats, surface: NDArray[np.int32]) -> Floats:
    """Values (row, column, k) averaged over neighbours with the same surface number and a like normal.

    Args:
        values: (row, column, k).
        normals: (row, column, 3) unit normals without relief.
        surface: (row, column) number of the thing; -1 where there is none.
    """
    height, width, _ = values.shape
    for step in STEPS:
        total = values.copy()
        weight = np.ones((height, width, 1), np.float32)
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                if dx == 0 and dy == 0:
                    continue
                here = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
                there = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
                alike = np.einsum("ijk,ijk->ij", normals[here], normals[there])
                w = np.clip((alike - 0.8) * 5.0, 0.0, 1.0) * (surface[here] == surface[there])
                w = w[..., None].astype(np.float32)
                total[here] += values[there] * w
                weight[here] += w
        values = total / weight
    return values
