"""Predict the depth of a key view, and relative poses of several cameras, with a two-view model.

Each pair of images is predicted separately. Depth is the z of the key view's own pointmap, mapped back to all pixels of
the original image. Poses use no given intrinsics: focal lengths are estimated from the pointmaps, and the principal
point is the centre of the image. Poses are estimated from matches and an essential matrix (MASt3R), from the second
view's points in the first one's frame (DUSt3R-PnP), or from the global alignment of all views (DUSt3R-GA).

Sources: DUSt3R (arXiv 2312.14132), sections 3.3, 3.4 and 4; MASt3R (arXiv 2406.09756), section 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.geometry.cameras import ImageFit
from codistill.geometry.essential import pose_from_matches
from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.pnp import pose_from_points_and_pixels
from codistill.geometry.poses import invert_pose, relative_pose
from codistill.geometry.robust import RobustConfig
from codistill.tasks.two_view.decode import PairPrediction, confident_points
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig, align
from codistill.tasks.two_view.reconstruct.edges import (
    build_graph,
    choose_pairs,
    fitted_focal,
    fitted_intrinsics,
)
from codistill.tasks.two_view.reconstruct.images import SourceImage
from codistill.tasks.two_view.reconstruct.start import first_guess

Estimator = Literal["matches", "pnp", "alignment"]
"""matches: descriptors, essential matrix. pnp: the second view's points and pixels. alignment: global, of all views."""

_MATCH_THRESHOLD = 1.0
"""Pixels of the network's image; with two pixels, a wrong solution wins at low resolution."""
_PNP_THRESHOLD = 5.0


@dataclass(frozen=True)
class PairDepth:
    """A key view's prediction from the pair with one source, at the size of the network's image.

    Attributes:
        depth: (row, column), along z. confidence: (row, column).
        fit: how the key view was resized and cropped.
    """

    depth: Float[Tensor, "row column"]
    confidence: Float[Tensor, "row column"]
    fit: ImageFit


def pair_depth(predictor: TwoViewPredictor, key: np.ndarray, source: np.ndarray) -> PairDepth:
    """Predict the depth of the key view from the pair with one source; images are (row, column, 3) uint8."""
    pair = predictor(key, source)
    return PairDepth(pair.a.points[0, ..., 2].float(), pair.a.confidence[0].float(), pair.fit_a)


def in_original(
    values: Float[Tensor, "row column"], fit: ImageFit
) -> Float[Tensor, "original_row original_column"]:
    """Map the network's values to every pixel of the original image, by the nearest pixel.

    In the margin that was cropped, pixels take the value of the nearest pixel that was kept.
    """
    rows, columns = fit.original
    # The fit scales and shifts each axis separately, so a diagonal of pixels gives the indices along both axes.
    places = torch.arange(max(rows, columns), device=values.device, dtype=torch.float64)
    x, y = (fit.from_original(torch.stack((places, places), dim=-1)) + 0.5).floor().long().unbind(-1)
    return values[y[:rows].clamp(0, values.shape[0] - 1)][:, x[:columns].clamp(0, values.shape[1] - 1)]


def matched_pose(
    predictor: TwoViewPredictor, pair: PairPrediction, robust: RobustConfig
) -> PoseEstimate | None:
    """Pose of the second camera from the first, with a translation of length 1, from matches of descriptors."""
    matches = predictor.match(pair).fitted
    first, second = _intrinsics(pair.a.points[0], pair.fit_a), _intrinsics(pair.b.points[0], pair.fit_b)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    pixels1, pixels2 = (found.double().cpu().numpy() for found in (matches.pixels1, matches.pixels2))
    return pose_from_matches(
        pixels1,
        pixels2,
        first,
        second,
        threshold=_MATCH_THRESHOLD,
        **robust.draws,
    )


def pnp_pose(_: TwoViewPredictor, pair: PairPrediction, robust: RobustConfig) -> PoseEstimate | None:
    """Pose of the second camera from the first, by PnP.

    It uses the confident points and pixels of the second view, and the focal length of the first.
    """
    points, pixels = confident_points(pair.b_in_a, pair.fit_b)
    focal = fitted_focal(pair.a.points[0], pair.fit_a, None)
    intrinsics = fitted_intrinsics(pair.fit_b, focal).double().numpy()
    if not np.isfinite(intrinsics).all():
        return None
    fitted = pair.fit_b.from_original(torch.from_numpy(pixels)).numpy()
    return pose_from_points_and_pixels(
        points,
        fitted,
        intrinsics,
        threshold=_PNP_THRESHOLD,
        solver=robust.pnp,
        **robust.draws,
    )


PairEstimator = Callable[[TwoViewPredictor, PairPrediction, RobustConfig], PoseEstimate | None]
PAIR_ESTIMATORS: dict[Estimator, PairEstimator] = {
    "matches": matched_pose,
    "pnp": pnp_pose,
}
"""Estimators that use every pair separately."""


def relative_poses(
    predictor: TwoViewPredictor,
    images: Sequence[np.ndarray],
    estimator: Estimator,
    config: AlignConfig | None = None,
    robust: RobustConfig | None = None,
) -> Float[Tensor, "pair 4 4"]:
    """Estimate the poses of all pairs i < j: camera j from camera i, in the order of `torch.triu_indices`.

    Pairs without an estimate have NaN.

    Args:
        predictor: the two-view model, on its device.
        images: (row, column, 3) uint8, of any sizes.
        estimator: see `Estimator`.
        config: config of the alignment.
        robust: config for the poses of pairs, and for the alignment's first guess.
    """
    robust = robust or RobustConfig()
    pairs = choose_pairs(len(images))
    if estimator == "alignment":
        cameras = invert_pose(aligned_cameras(predictor, images, config or AlignConfig(), robust))
        first, second = (list(numbers) for numbers in zip(*pairs, strict=True))
        return relative_pose(cameras[first], cameras[second])
    poses = torch.full((len(pairs), 4, 4), torch.nan, dtype=torch.float64)
    for row, (i, j) in enumerate(pairs):
        found = PAIR_ESTIMATORS[estimator](predictor, predictor(images[i], images[j]), robust)
        if found is not None and found.is_usable(0):
            poses[row] = torch.from_numpy(found.matrix())
    return poses


def aligned_cameras(
    predictor: TwoViewPredictor, images: Sequence[np.ndarray], config: AlignConfig, robust: RobustConfig
) -> Float[Tensor, "view 4 4"]:
    """Camera-to-world poses of all views from the global alignment of all pairs; NaN if it fails."""
    sources = [SourceImage(Path(str(number)), image) for number, image in enumerate(images)]
    graph = build_graph(predictor, sources, choose_pairs(len(images)), robust=robust)
    if not all(bool(points.isfinite().all()) for edge in graph.edges for points in edge.points):
        return torch.full((len(images), 4, 4), torch.nan, dtype=torch.float64)
    try:
        start = first_guess(graph, sources, robust)
    except DataError:  # a view's points give no focal length, which the poses of the other views need
        return torch.full((len(images), 4, 4), torch.nan, dtype=torch.float64)
    aligned = align(graph, start, [False] * len(sources), config)
    return torch.stack(aligned.camera_to_world).double()


def _intrinsics(points: Tensor, fit: ImageFit) -> np.ndarray:
    """Intrinsics (3, 3) of the network's image, from a view's points in its own frame."""
    return fitted_intrinsics(fit, fitted_focal(points, fit, None)).double().numpy()
