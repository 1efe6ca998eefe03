"""What training sees of an image with depth: border cut, turned, mirrored, cropped and recoloured at random.

uint8 image and metres in, a `View` out; depth is interpolated within a surface only, never across an edge. Source: the
NYU pipeline of the Monocular-Depth-Estimation-Toolbox as DINOv2 uses it, in its order.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from codistill.tasks.dense.depth.data import DepthProtocol
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.loading import View

_GAMMA, _BRIGHTNESS, _COLOUR = (0.9, 1.1), (0.75, 1.25), (0.9, 1.1)


def resize_pair(
    image: np.ndarray, depth: np.ndarray, size: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Image (area when shrinking, else bilinear) and depth (see `resize_depth`) at (rows, columns)."""
    if size is None or image.shape[:2] == tuple(size):
        return image, depth
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method), resize_depth(depth, size)


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth (row, column) at (rows, columns), read at the centre of every new pixel.

    Between four known pixels of one surface (within 5 % of each other) it is interpolated; at edges, and beside pixels
    without depth (0), the nearest pixel counts, since a mean would lie in the air.
    """
    place = [
        np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        for new, old in zip(size, depth.shape, strict=True)
    ]
    low = [np.floor(at).astype(np.int64) for at in place]
    high = [np.minimum(at + 1, old - 1) for at, old in zip(low, depth.shape, strict=True)]
    down, across = (place[0] - low[0])[:, None], (place[1] - low[1])[None]
    corners = [depth[np.ix_(rows, columns)] for rows in (low[0], high[0]) for columns in (low[1], high[1])]
    nearest = depth[np.ix_(*(np.rint(at).astype(np.int64) for at in place))]
    least, most = np.minimum.reduce(corners), np.maximum.reduce(corners)
    upper = corners[0] * (1 - across) + corners[1] * across
    lower = corners[2] * (1 - across) + corners[3] * across
    smooth = (least > 0) & np.isfinite(most) & (most <= 1.05 * least)
    return np.where(smooth, upper * (1 - down) + lower * down, nearest).astype(depth.dtype)


@dataclass(frozen=True)
class DepthViews:
    """Makes training views by a protocol."""

    protocol: DepthProtocol

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of every view."""
        return self.protocol.crop

    def __call__(self, sample: DenseSample, rng: np.random.Generator) -> View:
        """A random view."""
        image, depth = self._prepared(sample)
        if rng.random() < 0.5:
            image, depth = turned(image, depth, rng.uniform(-self.protocol.degrees, self.protocol.degrees))
        if rng.random() < 0.5:
            image, depth = image[:, ::-1], depth[:, ::-1]
        starts = [
            int(rng.integers(0, max(side - length, 0) + 1))
            for side, length in zip(depth.shape, self.size, strict=True)
        ]
        return self._cut(recolour(self._window(image, starts), rng), self._window(depth, starts))

    def plain(self, sample: DenseSample) -> View:
        """The middle of the image, inside the border."""
        image, depth = self._prepared(sample)
        starts = [max(0, (side - length) // 2) for side, length in zip(depth.shape, self.size, strict=True)]
        return self._cut(self._window(image, starts), self._window(depth, starts))

    def _prepared(self, sample: DenseSample) -> tuple[np.ndarray, np.ndarray]:
        image, depth = resize_pair(sample.image, sample.target, self.protocol.resized)
        depth = np.where(depth <= self.protocol.farthest, depth, 0.0).astype(np.float32)
        if self.protocol.border is None:
            return image, depth
        top, bottom, left, right = self.protocol.border
        return image[top:bottom, left:right], depth[top:bottom, left:right]

    def _window(self, values: np.ndarray, starts: list[int]) -> np.ndarray:
        return values[starts[0] : starts[0] + self.size[0], starts[1] : starts[1] + self.size[1]]

    def _cut(self, image: np.ndarray, depth: np.ndarray) -> View:
        rows, columns = depth.shape
        pixels = np.zeros((*self.size, 3), dtype=np.float32)
        target = np.zeros(self.size, dtype=np.float32)
        pixels[:rows, :columns], target[:rows, :columns] = image, depth
        return View(pixels, target, (rows, columns))


def turned(image: np.ndarray, depth: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Both rotated about their centre; corners become black and unknown."""
    rows, columns = depth.shape
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1.0)
    size = (columns, rows)
    return (
        cv2.warpAffine(np.ascontiguousarray(image), matrix, size, flags=cv2.INTER_LINEAR),
        cv2.warpAffine(np.ascontiguousarray(depth), matrix, size, flags=cv2.INTER_NEAREST),
    )


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With probability one half: a power, a factor, and a factor per channel, on 0 to 255 (fp32), then clipped."""
    if rng.random() >= 0.5:
        return image
    values = image.astype(np.float32) ** rng.uniform(*_GAMMA)
    values = values * rng.uniform(*_BRIGHTNESS) * rng.uniform(*_COLOUR, size=3).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.float32)
