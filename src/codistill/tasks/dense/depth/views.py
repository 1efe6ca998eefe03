"""Make training views of images with depth: cut the border, then rotate, mirror, crop and recolour at random.

Takes a uint8 image and metres, gives a `View`. Depth is interpolated only within a surface, never across an edge.
Source: the NYU pipeline of the Monocular-Depth-Estimation-Toolbox as DINOv2 uses it, with its order of steps.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from codistill.tasks.dense.depth.data import DepthProtocol
from codistill.tasks.dense.views import Pair, SurfaceViews, resize_image
from codistill.tasks.shared.data import DenseSample


def resize_pair(
    image: np.ndarray, depth: np.ndarray, size: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Resize image (area when shrinking, else bilinear) and depth (see `resize_depth`) to (rows, columns)."""
    if size is None or image.shape[:2] == tuple(size):
        return image, depth
    return resize_image(image, size), resize_depth(depth, size)


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize depth (row, column) to (rows, columns); values are taken at the centre of every new pixel.

    Depth is interpolated between four known pixels of one surface (within 5 % of each other). At edges and next to
    unknown depth (0) the nearest pixel is taken, since a mean would lie between two surfaces.
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
class DepthViews(SurfaceViews):
    """Makes training views by a protocol; plain views show the middle of the image without its border."""

    protocol: DepthProtocol

    def prepared(self, sample: DenseSample) -> Pair:
        """Resize, set depth beyond the range to unknown, and cut the border."""
        image, depth = resize_pair(sample.image, sample.target, self.protocol.resized)
        depth = np.where(depth <= self.protocol.farthest, depth, 0.0).astype(np.float32)
        if self.protocol.border is None:
            return image, depth
        top, bottom, left, right = self.protocol.border
        return image[top:bottom, left:right], depth[top:bottom, left:right]

    def turned(self, image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Pair:
        """Rotate by a few degrees, with probability one half."""
        if rng.random() >= 0.5:
            return image, target
        return turned(image, target, rng.uniform(-self.protocol.degrees, self.protocol.degrees))


def turned(image: np.ndarray, depth: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate image (row, column, 3) and depth (row, column) about their centre; corners become black and unknown."""
    rows, columns = depth.shape
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1.0)
    size = (columns, rows)
    return (
        cv2.warpAffine(np.ascontiguousarray(image), matrix, size, flags=cv2.INTER_LINEAR),
        cv2.warpAffine(np.ascontiguousarray(depth), matrix, size, flags=cv2.INTER_NEAREST),
    )
