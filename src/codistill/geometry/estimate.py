"""The result of a robust solver: a relative pose, and which of its inputs agree with it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class PoseEstimate:
    """A rigid pose with its support.

    Attributes:
        rotation: (3, 3).
        translation: (3,), metres, or of unit length if the solver cannot determine the scale.
        inliers: (match,) booleans: which inputs agree with the pose.
        confidence: number of supporters, as defined by the solver.
    """

    rotation: FloatArray
    translation: FloatArray
    inliers: NDArray[np.bool_]
    confidence: float

    def matrix(self) -> FloatArray:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.translation
        return matrix

    def is_usable(self, min_confidence: float = 6, max_translation: float = 1000.0) -> bool:
        """Whether the estimate has enough support, is finite, and is not absurdly far away (Map-free practice)."""
        finite = bool(np.isfinite(self.rotation).all() and np.isfinite(self.translation).all())
        return (
            finite
            and self.confidence >= min_confidence
            and float(np.linalg.norm(self.translation)) <= max_translation
        )


def check_matched(name: str, **arrays: tuple[FloatArray, int]) -> int:
    """Number of matches in arrays (match, width) given as `label=(array, width)`.

    Raises:
        ValueError: if a shape is wrong or the counts differ.
    """
    counts = {label: array.shape[0] for label, (array, _) in arrays.items() if array.ndim == 2}
    wrong = {label: a.shape for label, (a, width) in arrays.items() if a.ndim != 2 or a.shape[1] != width}
    if wrong or len(set(counts.values())) != 1:
        wanted = ", ".join(f"{label} (match, {width})" for label, (_, width) in arrays.items())
        shapes = ", ".join(f"{label} {array.shape}" for label, (array, _) in arrays.items())
        raise ValueError(f"{name} needs {wanted} with as many matches each; got {shapes}")
    return next(iter(counts.values()))
