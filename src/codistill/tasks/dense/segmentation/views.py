"""Make training views of labelled images: resize, crop, mirror and recolour at random.

Takes a uint8 image and labels, gives a `View`. Source: the ADE20K pipeline of mmsegmentation 0.x, with the same order
of steps and OpenCV as there. Colour steps are written for RGB; they treat all channels alike or go through HSV.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from codistill.metrics.segmentation import IGNORE
from codistill.tasks.dense.segmentation.data import SegmentationProtocol
from codistill.tasks.dense.views import Window, padded, random_window
from codistill.tasks.shared.data import DenseSample, middle_window
from codistill.tasks.shared.loading import View

_CROP_ATTEMPTS = 10
_MAX_SHARE = 0.75
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 32.0, (0.5, 1.5), (0.5, 1.5), 18


def keep_ratio(shape: tuple[int, ...], scale: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of an image resized to fit into (long, short) sides; rounded half up, at least 1 each."""
    rows, columns = shape[:2]
    factor = min(max(scale) / max(rows, columns), min(scale) / min(rows, columns))
    return max(1, int(rows * factor + 0.5)), max(1, int(columns * factor + 0.5))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (row, column, 3) to `size` (rows, columns): bilinear, without antialiasing, as the protocols do."""
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (row, column) to `size` (rows, columns): nearest neighbour."""
    return cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class SegmentationViews:
    """Makes training views by a protocol."""

    protocol: SegmentationProtocol

    @property
    def size(self) -> tuple[int, int]:
        return self.protocol.crop

    def __call__(self, sample: DenseSample, rng: np.random.Generator) -> View:
        protocol = self.protocol
        ratio = rng.uniform(*protocol.zoom)
        scale = (int(protocol.scale[0] * ratio), int(protocol.scale[1] * ratio))
        size = keep_ratio(sample.image.shape, scale)
        image, labels = resize_image(sample.image, size), resize_labels(sample.target, size)
        window = _crop(labels, protocol.crop, rng)
        image, labels = image[window], labels[window]
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return padded(recolour(np.ascontiguousarray(image), rng), labels, self.size, IGNORE)

    def plain(self, sample: DenseSample) -> View:
        """The middle of the image at test scale."""
        size = keep_ratio(sample.image.shape, self.protocol.scale)
        image, labels = resize_image(sample.image, size), resize_labels(sample.target, size)
        window = middle_window(labels.shape, self.size)
        return padded(image[window], labels[window], self.size, IGNORE)


def _crop(labels: np.ndarray, crop: tuple[int, int], rng: np.random.Generator) -> Window:
    """A random window where no class has three quarters of the labelled pixels or more; else the last of ten tries."""
    place: Window = (slice(0), slice(0))
    for _ in range(_CROP_ATTEMPTS):
        place = random_window(labels.shape, crop, rng)
        counts = np.bincount(labels[place].ravel(), minlength=256)[:IGNORE]
        counts = counts[counts > 0]
        if counts.size > 1 and counts.max() / counts.sum() < _MAX_SHARE:
            break
    return place


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of (row, column, 3) uint8, each with probability one half.

    Contrast is changed before saturation and hue or after them, at random.
    """
    if rng.random() < 0.5:
        image = _affine(image, 1.0, rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
    contrast_first = rng.random() < 0.5
    if contrast_first and rng.random() < 0.5:
        image = _affine(image, rng.uniform(*_CONTRAST), 0.0)
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _affine(hsv[..., 1], rng.uniform(*_SATURATION), 0.0)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int32) + int(rng.integers(-_HUE, _HUE))) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not contrast_first and rng.random() < 0.5:
        image = _affine(image, rng.uniform(*_CONTRAST), 0.0)
    return image


def _affine(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
    return np.clip(values.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)
