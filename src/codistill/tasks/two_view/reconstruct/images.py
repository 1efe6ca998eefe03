"""Pictures for a reconstruction: pixels, and the focal length if EXIF data has it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import ConfigError
from codistill.imaging import equivalent_focal, read_file, read_header, read_rgb

_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_WIDEST = 2 * math.tan(math.radians(80.0))
"""The longer side of a picture that sees 160 degrees, in focal lengths."""


@dataclass(frozen=True)
class SourceImage:
    """One picture.

    Attributes:
        path: path of the file. pixels: (row, column, 3) uint8, rotated as its EXIF data says.
        focal: focal length in pixels, or None if unknown.
        orientation: EXIF orientation of the file, 1 to 8; 1 is upright.
    """

    path: Path
    pixels: np.ndarray
    focal: float | None = None
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_image(path: str | Path, focal: float | None = None) -> SourceImage:
    """Read a picture; its focal length is the given one, else from EXIF.

    Raises:
        ConfigError: for a focal length with which it would see more than 160 degrees.
        DataError: if it cannot be decoded.
    """
    pixels = read_rgb(path)
    longer = max(pixels.shape[:2])
    if focal is not None and focal < longer / _WIDEST:
        degrees = math.degrees(2 * math.atan(longer / 2 / focal))
        raise ConfigError(
            f"{path}: a focal length of {focal:g} pixels would make {longer} pixels see {degrees:.0f} degrees; the "
            "model is a pinhole camera. Give the focal length in pixels of this picture, not in millimetres."
        )
    known = focal or exif_focal(path, pixels.shape[0], pixels.shape[1])
    turned = read_header(read_file(path), name=str(path)).orientation
    return SourceImage(Path(path), pixels, known, turned)


def exif_focal(path: str | Path, rows: int, columns: int) -> float | None:
    """Focal length in pixels from the 35 mm equivalent in a picture's EXIF data (by the image's diagonal), or None."""
    millimetres = equivalent_focal(path)
    return None if millimetres is None else millimetres * math.hypot(rows, columns) / _DIAGONAL_35MM
