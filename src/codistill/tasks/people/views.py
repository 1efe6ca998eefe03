"""Make the encoder's input: the whole image centred in a black square, with its camera, and its mirror image.

Source: Multi-HMR (arXiv 2402.14654): images are resized to fit, padded to a square, and flipped; nothing else.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.cameras import scale_intrinsics
from codistill.heads.human_mesh.mirror import mirror_intrinsics, mirror_people
from codistill.heads.human_mesh.targets import PeopleTruth
from codistill.imaging import resize_rgb
from codistill.tasks.people.sample import PeopleImage, Skeleton


def whole_patches(size: int, patch_size: int) -> int:
    """The multiple of the patch size that is nearest to `size`."""
    return max(1, round(size / patch_size)) * patch_size


@dataclass(frozen=True)
class Placement:
    """Placement of an image in its square: square pixel = (image pixel + 0.5) * scale - 0.5 + (left, top).

    Attributes:
        size: side of the square.
        rows, columns: size of the resized image.
        top, left: position of its corner.
        scale: scale factors (x, y).
    """

    size: int
    rows: int
    columns: int
    top: int
    left: int
    scale: tuple[float, float]

    @classmethod
    def of(cls, rows: int, columns: int, size: int) -> "Placement":
        """The largest centred placement of an image."""
        factor = size / max(rows, columns)
        height, width = max(1, round(rows * factor)), max(1, round(columns * factor))
        scale = (width / columns, height / rows)
        return cls(size, height, width, (size - height) // 2, (size - width) // 2, scale)

    def intrinsics(self, original: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
        """Intrinsics for the square, from those of the image."""
        scaled = scale_intrinsics(original, *self.scale)
        shift = torch.tensor([self.left, self.top], dtype=scaled.dtype)
        scaled[:2, 2] += shift
        return scaled

    def to_original(self, pixels: Tensor) -> Tensor:
        """Convert pixels (..., 2), (x, y), of the square to pixels of the image."""
        shift = torch.tensor([self.left, self.top], device=pixels.device)
        scale = torch.tensor(self.scale, device=pixels.device, dtype=pixels.dtype)
        return (pixels - shift + 0.5) / scale - 0.5


@dataclass(frozen=True)
class ViewLabels:
    """Camera and people of an image, in its square of `size` pixels."""

    size: int
    intrinsics: Float[Tensor, "3 3"]
    truth: PeopleTruth
    name: str

    def mirrored(self, skeleton: Skeleton) -> "ViewLabels":
        intrinsics = mirror_intrinsics(self.intrinsics, self.size)
        return replace(self, intrinsics=intrinsics, truth=mirror_people(self.truth, skeleton))

    def on_its_own(self) -> "ViewLabels":
        """A copy in this process's memory, since each tensor from a worker keeps a file open."""
        everybody = torch.arange(len(self.truth))
        return replace(self, intrinsics=self.intrinsics.clone(), truth=self.truth.at(everybody))


def square_pixels(image: np.ndarray, placement: Placement) -> np.ndarray:
    """Place (row, column, 3) uint8 in its black square (size, size, 3)."""
    square = np.zeros((placement.size, placement.size, 3), dtype=np.uint8)
    resized = resize_rgb(image, (placement.rows, placement.columns))
    below, right = placement.top + placement.rows, placement.left + placement.columns
    square[placement.top : below, placement.left : right] = resized
    return square


def square_view(sample: PeopleImage, size: int) -> tuple[np.ndarray, ViewLabels]:
    """Place a labelled image in its square: pixels (size, size, 3) uint8, and labels."""
    placement = Placement.of(sample.image.shape[0], sample.image.shape[1], size)
    labels = ViewLabels(size, placement.intrinsics(sample.intrinsics), sample.truth, sample.name)
    return square_pixels(sample.image, placement), labels


def mirrored_pixels(pixels: np.ndarray) -> np.ndarray:
    """Exchange left and right of (row, column, 3)."""
    return np.ascontiguousarray(pixels[:, ::-1])
