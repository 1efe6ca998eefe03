"""Quantize points and bodies to 16 bits per coordinate, which is more precise than the predictions themselves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt16

STEPS = 65535
_ENOUGH = 4000
"""Number of points from which quantiles are computed."""


@dataclass(frozen=True)
class Quantized:
    """Coordinates `low + values * step`, per axis.

    Attributes:
        values: integers, (point, axis).
        low, step: offset and step of each axis, in metres.
    """

    values: UInt16[np.ndarray, "point 3"]
    low: tuple[float, float, float]
    step: tuple[float, float, float]

    def about(self) -> dict[str, object]:
        """The numbers that undo the quantization, for a packet's header."""
        return {"low": self.low, "step": self.step}


def quantize(points: Float[np.ndarray, "point 3"]) -> Quantized:
    """Quantize finite points in metres to 16 bits between the smallest and the largest value of each axis."""
    if not len(points):
        return Quantized(np.zeros((0, 3), np.uint16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    axes = np.array(points.T, order="C")  # each axis contiguous: several times as fast as strided columns
    low = axes.min(axis=1)
    axes -= low[:, None]
    step = np.maximum(axes.max(axis=1).astype(np.float64), 1e-6) / STEPS
    axes *= (1.0 / step).astype(axes.dtype)[:, None]
    axes += 0.5
    values = np.ascontiguousarray(np.minimum(axes, STEPS).astype(np.uint16).T)
    x, y, z = (float(value) for value in low)
    return Quantized(values, (x, y, z), (float(step[0]), float(step[1]), float(step[2])))


def on_surfaces(points: Float[np.ndarray, "point 3"], slope: float = 0.025) -> Bool[np.ndarray, " point"]:
    """Mask of the points of a depth map that lie on surfaces, not in the air between a near and a far surface.

    Args:
        points: points in the camera's frame, row by row.
        slope: largest change of depth to the next point of the row, relative to the depth.
    """
    depth = points[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        steep = np.abs(np.diff(depth)) > slope * np.minimum(depth[1:], depth[:-1])
    kept = np.ones(len(points), dtype=bool)
    kept[1:] &= ~steep
    kept[:-1] &= ~steep
    return kept


def without_outliers(
    points: Float[np.ndarray, "point 3"], share: float = 0.005
) -> Bool[np.ndarray, " point"]:
    """Mask of the points to show: finite ones, without the few distant outliers that would make the rest look small.

    Args:
        points: points in metres.
        share: largest share of points to leave out at either end of each axis, if they lie far beyond the rest.
    """
    axes = np.ascontiguousarray(points.T)
    finite = np.asarray(np.isfinite(axes).all(axis=0))
    if not finite.any():
        return finite
    some = axes[:, finite][:, :: max(1, len(points) // _ENOUGH)]
    low, high = np.quantile(some, [share, 1.0 - share], axis=1)
    margin = 0.5 * (high - low)
    least, most = (low - margin)[:, None], (high + margin)[:, None]
    with np.errstate(invalid="ignore"):
        inside = (axes >= least) & (axes <= most)
    return finite & np.asarray(inside.all(axis=0))
