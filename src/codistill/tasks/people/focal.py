"""Find the camera of a photograph: given, from EXIF data, or assumed."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.geometry.cameras import camera_matrix, focal_from_field_of_view
from codistill.heads.human_mesh.camera import REFERENCE_FIELD_OF_VIEW
from codistill.imaging import equivalent_focal

FILM_DIAGONAL = math.hypot(36.0, 24.0)
"""Diagonal in millimetres of the film to which EXIF's equivalent focal length refers."""


@dataclass(frozen=True)
class FoundCamera:
    """Intrinsics of an image, (3, 3), pixels, and the source of its focal length: `given`, `exif` or `assumed`."""

    intrinsics: Float[Tensor, "3 3"]
    source: str


def find_camera(
    path: Path | None,
    rows: int,
    columns: int,
    *,
    focal: float | None = None,
    field_of_view: float | None = None,
    assumed: float | None = None,
) -> FoundCamera:
    """A pinhole camera whose principal point is the image centre.

    Args:
        path: the file, whose EXIF data may hold a focal length; None: there is no file.
        rows, columns: size of the upright image.
        focal: focal length in pixels, if known.
        field_of_view: degrees across the longer side, used without `focal`.
        assumed: the same, used only if nothing else is known; None: 60.
    """
    source, longer = "given", max(rows, columns)
    if field_of_view is not None:
        focal = focal_from_field_of_view(field_of_view, longer)
    if focal is None:
        equivalent = None if path is None else _equivalent_focal(path)
        if equivalent is not None:
            source, focal = "exif", equivalent * math.hypot(rows, columns) / FILM_DIAGONAL
        else:
            source, focal = "assumed", focal_from_field_of_view(assumed or REFERENCE_FIELD_OF_VIEW, longer)
    matrix = camera_matrix(torch.tensor(focal), ((columns - 1) / 2, (rows - 1) / 2))
    return FoundCamera(matrix.float(), source)


def _equivalent_focal(path: Path) -> float | None:
    """Focal length in millimetres on 35 mm film from EXIF data, if recorded."""
    try:
        return equivalent_focal(path)
    except DataError:
        return None  # the image itself was decoded; only its metadata cannot be read
