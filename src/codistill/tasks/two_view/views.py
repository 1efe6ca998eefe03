"""Make training views of a posed pair: crop around the principal point, zoom and recolour at random, resize.

Takes a `Pair` and a random generator, gives a `PairView` of fixed size. Depth is never interpolated; intrinsics are
adjusted. Crops and colours of the two views are drawn independently. Source: the published two-view training (crops
centred on the principal point; colour jitter of half brightness, contrast and saturation and a tenth of the hue; an
aspect ratio drawn for every step).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from codistill.data.randomness import Purpose, generator
from codistill.errors import ConfigError, DataError
from codistill.geometry.cameras import crop_intrinsics, scale_intrinsics
from codistill.tasks.two_view.pairs import Pair, PosedImage

SHAPE = Purpose.PAIR_SHAPE


@dataclass(frozen=True)
class PairView:
    """Two views as the network receives them; axis `view` is 0 or 1.

    Attributes:
        images: (view, row, column, 3) uint8.
        depths: (view, row, column) float32 metres, 0 unknown, infinite for sky.
        intrinsics: (view, 3, 3) float32. poses: (view, 4, 4) float32, camera-to-world.
    """

    images: np.ndarray
    depths: np.ndarray
    intrinsics: np.ndarray
    poses: np.ndarray


@dataclass(frozen=True, kw_only=True)
class PairViews:
    """Makes training views of pairs.

    Attributes:
        size: rows and columns of every view.
        zoom: smallest random crop, as a share of the largest crop that fits; 1 never zooms.
        jitter: largest change of brightness, contrast and saturation; a fifth of it for the hue; 0 keeps the colours.
        shapes: sizes from which every step draws one instead of `size`, in landscape or portrait; (): always `size`.
    """

    size: tuple[int, int]
    zoom: float = 0.8
    jitter: float = 0.5
    shapes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if (
            min(min(size) for size in (self.size, *self.shapes)) < 1
            or not 0.0 < self.zoom <= 1.0
            or not 0.0 <= self.jitter < 1.0
        ):
            raise ConfigError(f"sizes must be positive, 0 < zoom <= 1, 0 <= jitter < 1; got {self}")

    def __call__(self, pair: Pair, rng: np.random.Generator) -> PairView:
        views = []
        for view in (pair.first, pair.second):
            image, depth, intrinsics = self._cropped(view, float(rng.uniform(self.zoom, 1.0)))
            views.append((recolour(image, self.jitter, rng), depth, intrinsics))
        return self._stacked(pair, views)

    def of_step(self, seed: int, step: int) -> "PairViews":
        """This maker with the size that all pairs of a step share."""
        if not self.shapes:
            return self
        draw = generator(seed, SHAPE, step)
        size = self.shapes[int(draw.integers(len(self.shapes)))]
        return replace(self, size=size[::-1] if draw.integers(2) else size)

    def plain(self, pair: Pair) -> PairView:
        """The largest crops that fit, without randomness."""
        return self._stacked(pair, [self._cropped(view, 1.0) for view in (pair.first, pair.second)])

    def _cropped(self, view: PosedImage, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, depth and intrinsics of a crop with the aspect ratio of the views, centred on the principal point."""
        rows, columns = view.image.shape[:2]
        cx, cy = (float(value) + 0.5 for value in view.intrinsics[:2, 2])
        half = np.array([min(cy, rows - cy), min(cx, columns - cx)])
        if half.min() < 1:
            raise DataError(
                f"{view.name}: its principal point lies outside of the image; check its intrinsics"
            )
        wanted = np.array(self.size, dtype=float)
        height, width = np.maximum(1, np.round(2 * wanted * (half / wanted).min() * share)).astype(int)
        top, left = (max(0, round(middle - side / 2)) for middle, side in ((cy, height), (cx, width)))
        height, width = min(height, rows - top), min(width, columns - left)
        intrinsics = crop_intrinsics(torch.from_numpy(view.intrinsics), left, top)
        intrinsics = scale_intrinsics(intrinsics, self.size[1] / width, self.size[0] / height).numpy()
        window = slice(top, top + height), slice(left, left + width)
        return (*self._resized(view.image[window], view.depth[window]), intrinsics)

    def _resized(self, image: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if image.shape[:2] == tuple(self.size):
            return image, depth
        shrinks = image.shape[0] > self.size[0]
        size = self.size[::-1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return (
            cv2.resize(np.ascontiguousarray(image), size, interpolation=method),
            cv2.resize(np.ascontiguousarray(depth), size, interpolation=cv2.INTER_NEAREST_EXACT),
        )

    def _stacked(self, pair: Pair, views: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> PairView:
        images, depths, intrinsics = (np.stack(values) for values in zip(*views, strict=True))
        poses = np.stack([pair.first.camera_to_world, pair.second.camera_to_world])
        return PairView(
            images, depths.astype(np.float32), intrinsics.astype(np.float32), poses.astype(np.float32)
        )


def recolour(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of (row, column, 3) uint8 at random, in this order."""
    if strength == 0.0:
        return image
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    # Imported here: it imports PyTorch's compiler, which takes seconds, and using a head needs none of it.
    from torchvision.transforms.v2 import functional as colour

    for change in (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation):
        pixels = change(pixels, float(rng.uniform(1.0 - strength, 1.0 + strength)))
    pixels = colour.adjust_hue(pixels, float(rng.uniform(-strength, strength)) / 5)
    return pixels.permute(1, 2, 0).numpy()
