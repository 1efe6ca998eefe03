"""Match features alone: nearest neighbours with the ratio test, errors against known geometry, location of keypoints.

Takes features and positions, gives matches, errors and shares. Sources: Probe3D (arXiv 2404.08636), section 4, for
geometric matches; SPair-71k (arXiv 1908.10543), section 5, for the percentage of correct keypoints (PCK).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, normalize

from codistill.geometry.poses import transform_points
from codistill.geometry.projection import project

_AT_ONCE = 16_000_000
"""Number of similarities in memory at once: 64 MB in fp32."""
_CHANNELS = 32
"""Number of channels upsampled at once."""
_SMALLEST = 1e-9
"""Cosine distance below which two features count as equal."""


@dataclass(frozen=True)
class Matches:
    """The best matches of one set of features in another, in order of confidence.

    Attributes:
        first, second: indices in the two sets.
        confidence: in [0, 1] with the ratio test, else the cosine similarity.
    """

    first: Int[Tensor, " match"]
    second: Int[Tensor, " match"]
    confidence: Float[Tensor, " match"]


def best_matches(
    first: Float[Tensor, "one channel"],
    second: Float[Tensor, "other channel"],
    count: int,
    *,
    ratio: bool = True,
    at_once: int = _AT_ONCE,
) -> Matches:
    """Match each feature of the first set to its nearest neighbour in the second; keep the `count` most confident.

    Args:
        first, second: features of any length. If the second set has fewer than two, there is no match.
        count: largest number of matches to keep.
        ratio: confidence is 1 - distance / distance of the second nearest; False: the cosine similarity.
        at_once: number of similarities in memory at once.
    """
    if len(first) == 0 or len(second) < 2:
        nothing = torch.zeros(0, dtype=torch.int64, device=first.device)
        return Matches(nothing, nothing, first.new_zeros(0))
    one, other = normalize(first, dim=-1), normalize(second, dim=-1)
    parts = one.split(max(1, at_once // len(other)))
    nearest, values = zip(*(_two_nearest(part, other) for part in parts), strict=True)
    index, similarity = torch.cat(nearest), torch.cat(values)  # (one,), (one, 2)
    distance = (1.0 - similarity).clamp(min=_SMALLEST)
    confidence = 1.0 - distance[:, 0] / distance[:, 1] if ratio else similarity[:, 0]
    order = confidence.argsort(descending=True, stable=True)[:count]
    return Matches(order, index[order], confidence[order])


def _two_nearest(part: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Indices in `other` of the nearest features, and similarities (one, 2) of the nearest and the second nearest."""
    similarity = part @ other.T  # (one, other)
    best, index = similarity.max(1)
    # -2 is below every cosine. Two passes over a row are faster than sorting it.
    similarity.scatter_(1, index[:, None], -2.0)
    return index, torch.stack((best, similarity.amax(1)), dim=1)


def geometric_errors(
    points1: Float[Tensor, "match 3"],
    points2: Float[Tensor, "match 3"],
    pixels2: Float[Tensor, "match 2"],
    pose_2_from_1: Float[Tensor, "4 4"],
    intrinsics2: Float[Tensor, "3 3"],
) -> tuple[Float[Tensor, "match 2"], Float[Tensor, " match"]]:
    """Errors of matches in the second image and in 3-D, without a test of visibility.

    Args:
        points1, points2: 3-D points of the matched pixels, each in its own camera's frame, metres.
        pixels2: the matched pixels (x, y) of the second view.
        pose_2_from_1: transform from the first camera's frame to the second's.
        intrinsics2: intrinsics of the second view.

    Returns:
        Errors (match, 2) in pixels along x and y, infinite for points behind the second camera; errors (match,) in
        metres.
    """
    moved = transform_points(pose_2_from_1, points1)
    offset = pixels2 - project(moved, intrinsics2)
    return torch.where(moved[:, 2:] > 0, offset, torch.inf), (moved - points2).norm(dim=-1)


def binned(values: Float[Tensor, " pair"], edges: Sequence[float]) -> Int[Tensor, " pair"]:
    """Index of each value's bin [edge, next edge); -1 for values outside of all bins."""
    number = torch.bucketize(values, torch.tensor(edges, dtype=values.dtype), right=True) - 1
    return torch.where(number < len(edges) - 1, number, -1)


def locate_keypoints(
    source: Float[Tensor, "channel row column"],
    target: Float[Tensor, "channel row column"],
    keypoints: Float[Tensor, "point 2"],
    upsampled: tuple[int, int] | None = None,
) -> Float[Tensor, "point 2"]:
    """Locate one image's keypoints in another image, at the most similar features.

    As in Probe3D, features are normalized, a keypoint's feature is interpolated with the map's corners at the image's,
    and the position found is the upper left corner of a cell. With `upsampled`, features are first resized to that many
    pixels, and both positions are relative to pixel centres.

    Args:
        source, target: feature maps of square images, of equal shape.
        keypoints: (x, y) in [0, 1] of the source image.
        upsampled: rows and columns of pixels; None: search the cells themselves.

    Returns:
        (point, 2), (x, y) in [0, 1] of the target image.
    """
    grid = (2.0 * keypoints - 1.0)[None, None]
    if upsampled is None:
        wanted = grid_sample(normalize(source, dim=0)[None], grid, align_corners=True)
        heat = _heat(wanted, normalize(target, dim=0))  # (point, row, column)
        shift = 0.0
    else:
        wanted = grid_sample(source[None], grid, align_corners=False, padding_mode="border")
        # Upsampling and dot products commute, so only the lengths need upsampled features, a few channels at a time.
        heat = _upsampled(_heat(wanted, target), upsampled)
        lengths = sum(_upsampled(part, upsampled).square().sum(0) for part in target.split(_CHANNELS))
        heat = heat / torch.as_tensor(lengths).sqrt().clamp(min=_SMALLEST)
        shift = 0.5
    rows, columns = heat.shape[1:]
    place = heat.flatten(1).argmax(1)  # (point,)
    found = torch.stack((place % columns, place // columns), dim=1) + shift
    return found / found.new_tensor([columns, rows])


def _heat(wanted: Tensor, cells: Tensor) -> Tensor:
    """Dot products (point, row, column) of keypoints' features (1, channel, 1, point) with those of all cells."""
    return torch.einsum("cp,crx->prx", wanted[0, :, 0], cells)


def _upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def mean_of_classes(sums: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur of correct / all, per cent: from sums (resample, class, 2) to (resample,)."""
    right, count = sums[..., 0], sums[..., 1]
    shares = np.divide(right, count, out=np.zeros(right.shape), where=count > 0)
    return 100.0 * shares.sum(1) / np.maximum((count > 0).sum(1), 1)
