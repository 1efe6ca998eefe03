"""Match a pair of views by an encoder's features: find the best matches and their errors.

Source: Probe3D (arXiv 2404.08636), section 4. Features are taken at the pixels of known depth on a grid of a quarter of
the image's resolution, and matched to their cosine neighbours with the ratio test; the 1000 most confident matches are
kept. A match counts even if its point is not visible in the second view. There are two departures: features are read at
a pixel's exact position in the padded image, and the 3-D point is computed from the same pixel as the feature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.errors import ConfigError, check_least
from codistill.geometry.correspondences import PosedDepth, seen_at
from codistill.geometry.poses import transform_points
from codistill.geometry.projection import unproject
from codistill.metrics.correspondence import best_matches, geometric_errors
from codistill.tasks.encoder_alone import DenseFeatures
from codistill.tasks.two_view.pairs import Pair, PosedImage


@dataclass(frozen=True, kw_only=True)
class CorrespondenceTest:
    """How pairs are matched.

    Attributes:
        size: length in pixels to which an image's shorter side is resized; errors in pixels refer to this size.
        stride: distance between grid points in both directions, in pixels of that size.
        matches: number of most confident matches kept per pair.
        ratio: rank matches by the ratio test (nearest against second nearest); off: by distance.
        bins: edges of viewpoint change, degrees; pairs are also scored per bin.
    """

    size: int = 512
    stride: int = 4
    matches: int = 1000
    ratio: bool = True
    bins: tuple[float, ...] = (0.0, 30.0, 60.0, 90.0, 120.0)

    def __post_init__(self) -> None:
        check_least(self, "size", "stride", "matches")
        rising = all(low < high for low, high in pairwise(self.bins))  # not so beside a NaN
        if len(self.bins) < 2 or not rising:
            raise ConfigError(f"bins must be two rising angles or more, in degrees; got {self.bins}")


@dataclass(frozen=True)
class PairMatches:
    """The best matches of a pair, most confident first; empty if too little depth is known.

    Attributes:
        pixels1, pixels2: (x, y) in the original images.
        errors: errors by unit: `px` at the resized image's size, `diagonal` (per cent of its diagonal; both infinite
            for points behind the second camera) and `cm` in 3-D.
        visible: whether the point of the first pixel is visible in the second view.
    """

    pixels1: Int[Tensor, "match 2"]
    pixels2: Int[Tensor, "match 2"]
    errors: Mapping[str, Float[Tensor, " match"]]
    visible: Bool[Tensor, " match"]


def match_pair(model: DenseFeatures, pair: Pair, test: CorrespondenceTest) -> PairMatches:
    views = (pair.first, pair.second)
    sizes = [seen_size(view.depth.shape, test.size) for view in views]
    grids = [known_grid(view.depth, size, test.stride) for view, size in zip(views, sizes, strict=True)]
    first, second = (
        model.at_pixels(view.image, size, grid) for view, size, grid in zip(views, sizes, grids, strict=True)
    )
    found = best_matches(first, second, test.matches, ratio=test.ratio)
    at1, at2 = grids[0][found.first.cpu()], grids[1][found.second.cpu()]
    points1, points2 = (_points(view, at) for view, at in zip(views, (at1, at2), strict=True))
    pose, intrinsics = torch.from_numpy(pair.second_from_first), _fp64(pair.second.intrinsics)
    offsets, metres = geometric_errors(points1, points2, at2.double(), pose, intrinsics)
    scale = torch.tensor(sizes[1][::-1]) / torch.tensor(pair.second.depth.shape[::-1])
    pixels = (offsets * scale).norm(dim=-1)
    camera = torch.eye(4, dtype=torch.float64)  # points are in the second camera's frame
    seen_by = PosedDepth(depth=_fp64(pair.second.depth), intrinsics=intrinsics, world_to_camera=camera)
    errors = {"px": pixels, "diagonal": 100 * pixels / float(np.hypot(*sizes[1])), "cm": 100 * metres}
    return PairMatches(at1, at2, errors, seen_at(transform_points(pose, points1), seen_by).visible)


def seen_size(shape: tuple[int, ...], shorter: int) -> tuple[int, int]:
    """Rows and columns of an image after its shorter side is resized to `shorter`."""
    rows, columns = (round(side * shorter / min(shape)) for side in shape)
    return rows, columns


def known_grid(
    depth: Float[np.ndarray, "row column"], size: tuple[int, int], stride: int
) -> Int[Tensor, "pixel 2"]:
    """Pixels (x, y) with known depth, at the centres of the cells of a grid.

    Args:
        depth: depth map at its own resolution; the grid is never finer, so no pixel occurs twice.
        size: rows and columns to which the image is resized.
        stride: distance between grid points, in pixels of that size.
    """
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(int)
        for side, length in zip(size, depth.shape, strict=True)
        for count in [max(1, min(round(side / stride), length))]
    )
    chosen = depth[np.ix_(rows, columns)]
    row, column = np.nonzero(np.isfinite(chosen) & (chosen > 0))
    return torch.from_numpy(np.stack((columns[column], rows[row]), axis=1))


def _fp64(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float64))


def _points(view: PosedImage, pixels: Tensor) -> Tensor:
    """3-D points (match, 3) of pixels, in the view's own camera frame, metres."""
    depth = _fp64(view.depth)[pixels[:, 1], pixels[:, 0]]
    return unproject(pixels.double(), depth, _fp64(view.intrinsics))
