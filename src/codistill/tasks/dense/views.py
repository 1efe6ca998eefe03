"""Shared parts of the training views of dense tasks: windows, padding, resizing, colours.

Functions take and return arrays (row, column, …). Random numbers come from the generator that is passed in, in the
order of the code.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from codistill.tasks.shared.data import DenseSample, middle_window
from codistill.tasks.shared.loading import View

_GAMMA, _BRIGHTNESS, _COLOUR = (0.9, 1.1), (0.75, 1.25), (0.9, 1.1)

Window = tuple[slice, slice]


Pair = tuple[np.ndarray, np.ndarray]
"""An image and its target."""


@dataclass(frozen=True)
class SurfaceViews(ABC):
    """Makes training views of images with depth or normals by a protocol: mirrored, cropped, recoloured at random."""

    protocol: Any

    @property
    def size(self) -> tuple[int, int]:
        return self.protocol.crop

    @abstractmethod
    def prepared(self, sample: DenseSample) -> Pair:
        """The image and target from which every view is cut."""

    def turned(self, image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Pair:
        """Rotate at random; a task may override this, the default changes nothing."""
        return image, target

    def mirrored(self, target: np.ndarray) -> np.ndarray:
        """The target for the mirrored image."""
        return target[:, ::-1]

    def __call__(self, sample: DenseSample, rng: np.random.Generator) -> View:
        image, target = self.turned(*self.prepared(sample), rng)
        if rng.random() < 0.5:
            image, target = image[:, ::-1], self.mirrored(target)
        window = random_window(target.shape, self.size, rng)
        return padded(recolour(image[window], rng), target[window], self.size)

    def plain(self, sample: DenseSample) -> View:
        image, target = self.prepared(sample)
        window = middle_window(target.shape, self.size)
        return padded(image[window], target[window], self.size)


def random_window(shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> Window:
    """A random window of (rows, columns) in an array; an axis that is shorter than the window is taken whole."""
    starts = [
        int(rng.integers(0, max(side - length, 0) + 1)) for side, length in zip(shape[:2], size, strict=True)
    ]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])


def padded(image: np.ndarray, target: np.ndarray, size: tuple[int, int], unknown: int = 0) -> View:
    """Make a view of a given size; below and to the right of a smaller image it is black with an unknown target."""
    rows, columns = target.shape[:2]
    pixels = np.zeros((*size, 3), dtype=image.dtype)
    values = np.full((*size, *target.shape[2:]), unknown, dtype=target.dtype)
    pixels[:rows, :columns], values[:rows, :columns] = image, target
    return View(pixels, values, (rows, columns))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to (rows, columns): area mean when shrinking, else bilinear."""
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method)


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With probability one half, apply a power, a factor and a factor per channel to colours 0 to 255 (fp32), and clip.

    Source: the NYU pipeline of the Monocular-Depth-Estimation-Toolbox as DINOv2 uses it.
    """
    if rng.random() >= 0.5:
        return image
    values = image.astype(np.float32) ** rng.uniform(*_GAMMA)
    values = values * rng.uniform(*_BRIGHTNESS) * rng.uniform(*_COLOUR, size=3).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.float32)
