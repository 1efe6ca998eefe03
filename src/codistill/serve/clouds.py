"""Points and bodies in 16 bits a coordinate: a third of floats, and finer than what they are made from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt16

STEPS = 65535
_ENOUGH = 4000
"""Points that suffice for quantiles."""


@dataclass(frozen=True)
class Quantized:
    """Coordinates `low + values * step`, per axis.

    Attributes:
        values: (point, axis).
        low, step: metres.
    """

    values: UInt16[np.ndarray, "point 3"]
    low: tuple[float, float, float]
    step: tuple[float, float, float]

    def about(self) -> dict[str, object]:
        """What undoes it, for a packet's header."""
        return {"low": self.low, "step": self.step}


def quantize(points: Float[np.ndarray, "point 3"]) -> Quantized:
    """Points in metres, all finite, in 16 bits between the least and the greatest of each axis."""
    if not len(points):
        return Quantized(np.zeros((0, 3), np.uint16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    axes = np.array(points.T, order="C")  # an axis in one piece: several times as fast as column by column
    low = axes.min(axis=1)
    axes -= low[:, None]
    step = np.maximum(axes.max(axis=1).astype(np.float64), 1e-6) / STEPS
    axes *= (1.0 / step).astype(axes.dtype)[:, None]
    axes += 0.5
    values = np.ascontiguousarray(np.minimum(axes, STEPS).astype(np.uint16).T)
    x, y, z = (float(value) for value in low)
    return Quantized(values, (x, y, z), (float(step[0]), float(step[1]), float(step[2])))


def on_surfaces(points: Float[np.ndarray, "point 3"], slope: float = 0.025) -> Bool[np.ndarray, " point"]:
    """Which points of a depth map lie on surfaces, not in the air between one that is near and one that is far.

    Args:
        points: row by row, camera's frame.
        slope: greatest change of depth to the next point of the row, as a share of it.
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
    """Which points to show: finite, and not among the few far ones that would make the rest small.

    Args:
        points: in metres.
        share: of points that may be left out at either end of each axis, where they lie far beyond the rest.
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
