"""Pictures for a reconstruction: pixels, and the focal length if EXIF data has it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.imaging import equivalent_focal, read_file, read_header, read_rgb

_DIAGONAL_35MM = math.hypot(36.0, 24.0)


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
        DataError: if it cannot be decoded.
    """
    pixels = read_rgb(path)
    known = focal or exif_focal(path, pixels.shape[0], pixels.shape[1])
    turned = read_header(read_file(path), name=str(path)).orientation
    return SourceImage(Path(path), pixels, known, turned)


def exif_focal(path: str | Path, rows: int, columns: int) -> float | None:
    """Focal length in pixels from the 35 mm equivalent in a picture's EXIF data (by the image's diagonal), or None."""
    millimetres = equivalent_focal(path)
    return None if millimetres is None else millimetres * math.hypot(rows, columns) / _DIAGONAL_35MM
