"""Convert surface normals between unit vectors in the camera frame (x right, y down, z forward) and RGB.

Everywhere in codistill they point towards the camera, and (0, 0, 0) is unknown. In a file, a channel is (n + 1) / 2
times its largest value; black, and vectors shorter than 0.1, are unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import DataError

AXES = {"red": ("right", "left"), "green": ("down", "up"), "blue": ("forward", "towards")}
"""Directions of a channel's high values: along a camera axis, or against it (towards the camera)."""
_SHORT, _UNIT, _MOST_WRONG = 0.1, (0.9, 1.1), 0.05
_GREY = (90, 90, 90)


@dataclass(frozen=True)
class Colours:
    """Converts RGB values to normals.

    Attributes:
        signs: 1 if high values of red, green, blue point right, down, forward; -1 for left, up, towards the camera.
    """

    signs: tuple[int, int, int] = (1, 1, 1)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Unit vectors; (0, 0, 0) is unknown.

        Raises:
            DataError: for values that are not unit vectors, or point away from the camera.
        """
        vectors = values.astype(np.float32) * (2 / np.iinfo(values.dtype).max) - 1
        length = np.linalg.norm(vectors, axis=-1)
        there = (values != 0).any(-1) & (length >= _SHORT)
        known = there & (length > _UNIT[0]) & (length < _UNIT[1])
        wrong = 1 - known.sum() / max(there.sum(), 1)
        if wrong > _MOST_WRONG or not known.any():
            raise DataError(
                f"{wrong:.0%} of its vectors are no unit vectors (n + 1) / 2: is it a map of normals? Was it resized? "
                "Unknown pixels must be black"
            )
        vectors = np.where(known[..., None], vectors / np.maximum(length, _SHORT)[..., None] * self.signs, 0)
        if vectors[..., 2].sum() > 0:
            raise DataError(
                "most of its normals point away from the camera. Expected: red right, green down, blue forward, so "
                "that what faces the camera has little blue; or say in normals.json where high values point: "
                '{"red": "right", "green": "up", "blue": "towards"}'
            )
        return vectors.astype(np.float32)


def colours_of(said: Mapping[str, object], path: Path) -> Colours:
    """The encoding of the channels, as described in a file.

    Raises:
        DataError: unless the description names one of two directions for each channel.
    """
    if set(said) != set(AXES) or any(said[name] not in allowed for name, allowed in AXES.items()):
        listed = ", ".join(f'"{name}": {" or ".join(allowed)}' for name, allowed in AXES.items())
        raise DataError(f"{path}: expected where high values point, {{{listed}}}; got {said}")
    red, green, blue = (1 - 2 * allowed.index(str(said[name])) for name, allowed in AXES.items())
    return Colours((red, green, blue))


def normals_picture(normals: np.ndarray) -> np.ndarray:
    """Show (row, column, 3) vectors as uint8 in the usual colours: red right, green up, blue towards the viewer.

    That is ((x, -y, -z) + 1) / 2; unknown is grey.
    """
    colours = (normals * np.array((1, -1, -1), dtype=np.float32) + 1) * 127.5 + 0.5
    return np.where((normals != 0).any(-1)[..., None], colours, _GREY).clip(0, 255).astype(np.uint8)
