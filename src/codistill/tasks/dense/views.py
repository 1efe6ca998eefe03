"""What training views of dense tasks share: windows, padding, resizing, colours.

Arrays (row, column, …) in and out; draws come from the generator that is passed in, in the order of the text.
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
    """Makes training views of surfaces by a protocol: mirrored, cropped and recoloured at random."""

    protocol: Any

    @property
    def size(self) -> tuple[int, int]:
        return self.protocol.crop

    @abstractmethod
    def prepared(self, sample: DenseSample) -> Pair:
        """What every view is cut from."""

    def turned(self, image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Pair:
        """Rotated at random; unchanged unless a task overrides it."""
        return image, target

    def mirrored(self, target: np.ndarray) -> np.ndarray:
        """The target of the mirrored image."""
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
    """A window of (rows, columns) somewhere in an array; from its start where it is smaller."""
    starts = [
        int(rng.integers(0, max(side - length, 0) + 1)) for side, length in zip(shape[:2], size, strict=True)
    ]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])


def padded(image: np.ndarray, target: np.ndarray, size: tuple[int, int], unknown: int = 0) -> View:
    """A view of that size: black, and of an unknown target, below and to the right of a smaller image."""
    rows, columns = target.shape[:2]
    pixels = np.zeros((*size, 3), dtype=image.dtype)
    values = np.full((*size, *target.shape[2:]), unknown, dtype=target.dtype)
    pixels[:rows, :columns], values[:rows, :columns] = image, target
    return View(pixels, values, (rows, columns))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at (rows, columns): mean of the area when shrinking, else bilinear."""
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method)


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With probability one half: a power, a factor, and a factor per channel, on 0 to 255 (fp32), then clipped.

    Source: the NYU pipeline of the Monocular-Depth-Estimation-Toolbox as DINOv2 uses it.
    """
    if rng.random() >= 0.5:
        return image
    values = image.astype(np.float32) ** rng.uniform(*_GAMMA)
    values = values * rng.uniform(*_BRIGHTNESS) * rng.uniform(*_COLOUR, size=3).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.float32)
