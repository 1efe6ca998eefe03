"""Pinhole intrinsics after resizing and cropping, and the rule for fitting an image to a two-view network.

An `ImageFit` records how an image was resized and cropped, to convert intrinsics and matched pixels between the
original and the fitted image. Source of the rule: MASt3R's published pre-processing (long edge, centre crop to whole
patches).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codistill.errors import DataError

_LEAST_FOCAL = 0.05
"""Smallest focal length, in longer sides of an image."""


def camera_matrix(focal: Tensor | float, center: Tensor | Sequence[int | float]) -> Tensor:
    """Intrinsics (..., 3, 3) without skew.

    Args:
        focal: (...) one focal length, or (..., 2) fx and fy, in pixels. A plain number gives a (3, 3) matrix.
        center: (..., 2) principal point (x, y) in pixels.
    """
    center = torch.as_tensor(center, dtype=_float_type(focal) if isinstance(focal, Tensor) else torch.float32)
    focal = torch.as_tensor(focal, dtype=center.dtype)
    center = center.to(focal.device)
    if focal.ndim == 0 or focal.shape[-1:] != (2,):
        focal = focal[..., None].expand(*focal.shape, 2)
    batch = torch.broadcast_shapes(focal.shape[:-1], center.shape[:-1])
    matrix = torch.zeros(*batch, 3, 3, dtype=focal.dtype, device=focal.device)
    matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2] = focal[..., 0], focal[..., 1], 1.0
    matrix[..., :2, 2] = center
    return matrix


def focal_from_field_of_view(degrees: float, pixels: int) -> float:
    """Focal length in pixels for a side of `pixels` pixels that spans an angle of `degrees`."""
    return pixels / (2.0 * math.tan(math.radians(degrees) / 2.0))


def check_focal(focal: float, shape: tuple[int, ...], where: object) -> None:
    """Refuse a focal length that no pinhole camera has: above 168 degrees of field of view it is not in pixels.

    Args:
        focal: the smaller of fx and fy, pixels.
        shape: rows and columns of the image (further axes are not used).
        where: where the focal length comes from.

    Raises:
        DataError: if it is not positive, or below a twentieth of the image's longer side.
    """
    if not focal >= _LEAST_FOCAL * max(shape[:2]):
        raise DataError(
            f"{where}: a focal length of {focal:g} does not belong to an image of {shape[0]}x{shape[1]} pixels; focal "
            "lengths and principal points are in pixels of the image"
        )


def scale_intrinsics(intrinsics: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Intrinsics (..., 3, 3) after resizing the image by (scale_x, scale_y); pixel centres are at integers."""
    scaled = intrinsics.clone()
    scaled[..., 0, :] *= scale_x
    scaled[..., 1, :] *= scale_y
    scaled[..., 0, 2] += scale_x / 2 - 0.5  # pixel centres are at integers
    scaled[..., 1, 2] += scale_y / 2 - 0.5
    return scaled


def crop_intrinsics(intrinsics: Tensor, left: int | float, top: int | float) -> Tensor:
    """Intrinsics (..., 3, 3) after cutting `left` columns and `top` rows from the image."""
    cropped = intrinsics.clone()
    cropped[..., 0, 2] -= left
    cropped[..., 1, 2] -= top
    return cropped


@dataclass(frozen=True, kw_only=True)
class ImageFit:
    """A resize followed by a crop.

    Attributes:
        original: (rows, columns) of the file after its EXIF rotation.
        resized: (rows, columns) after the resize.
        cropped: (rows, columns) after the crop: the network's input.
        left, top: columns and rows cut from the resized image.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    cropped: tuple[int, int]
    left: int
    top: int

    @property
    def scale(self) -> tuple[float, float]:
        """Horizontal and vertical scale of the resize."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]

    def intrinsics(self, original: Tensor) -> Tensor:
        """Intrinsics (..., 3, 3) of the cropped image, from those of the original."""
        return crop_intrinsics(scale_intrinsics(original, *self.scale), self.left, self.top)

    def to_original(self, pixels: Tensor) -> Tensor:
        """Convert pixels (..., 2), (x, y), of the cropped image to the original image; floating point."""
        shift = torch.tensor([self.left, self.top], device=pixels.device)
        scale = torch.tensor(self.scale, device=pixels.device, dtype=_float_type(pixels))
        return (pixels + shift + 0.5) / scale - 0.5

    def from_original(self, pixels: Tensor) -> Tensor:
        """Convert pixels (..., 2), (x, y), of the original image to the cropped image; floating point."""
        shift = torch.tensor([self.left, self.top], device=pixels.device)
        scale = torch.tensor(self.scale, device=pixels.device, dtype=_float_type(pixels))
        return (pixels + 0.5) * scale - 0.5 - shift


def _float_type(values: Tensor) -> torch.dtype:
    return values.dtype if values.is_floating_point() else torch.float32


def fit_long_edge(
    rows: int, columns: int, long_edge: int, patch_size: int, *, square_ok: bool = False
) -> ImageFit:
    """Fit an image to a given long edge and to whole patches.

    Args:
        rows, columns: size of the original image.
        long_edge: length of the longer side after the resize, pixels (512 for MASt3R, 518 for DUNE).
        patch_size: sides of the crop are multiples of it.
        square_ok: keep square images square; otherwise they are cropped to 4:3, as MASt3R was trained.

    Raises:
        DataError: for an image so elongated that its short side is below one patch.
    """
    if rows < 1 or columns < 1:
        raise DataError(f"an image of {rows}x{columns} pixels (rows x columns) has no content")
    longest = max(rows, columns)
    resized = tuple(round(side * long_edge / longest) for side in (rows, columns))
    height, width = (2 * (side // 2) // patch_size * patch_size for side in resized)
    if not square_ok and resized[0] == resized[1]:
        height = 3 * width // 4 // patch_size * patch_size
    if height < 1 or width < 1:
        raise DataError(
            f"an image of {rows}x{columns} pixels (rows x columns) is {resized[0]}x{resized[1]} at long edge "
            f"{long_edge}: the short side is below one patch of {patch_size} pixels. Crop the image, or use a "
            "longer long edge."
        )
    return ImageFit(
        original=(rows, columns),
        resized=(resized[0], resized[1]),
        cropped=(height, width),
        left=resized[1] // 2 - width // 2,
        top=resized[0] // 2 - height // 2,
    )
