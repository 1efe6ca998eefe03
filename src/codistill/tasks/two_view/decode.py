"""Decode two encoded views to pointmaps, matches and the relative pose of the cameras.

Matches and poses refer to pixels of the original images. Poses are metric if the training was.
Source: MASt3R (arXiv 2406.09756), section 3, and its visual localization; DUSt3R (arXiv 2312.14132), section 3.3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import ConfigError, unknown_name
from codistill.geometry.cameras import ImageFit
from codistill.geometry.essential import pose_from_matches, with_metric_scale
from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.pnp import pose_from_points_and_pixels
from codistill.geometry.projection import pixel_grid
from codistill.geometry.rigid import pose_from_point_pairs
from codistill.geometry.robust import RobustConfig
from codistill.heads.two_view.matching import Matches, symmetric_matches
from codistill.heads.two_view.network import TwoViewHead, ViewPrediction
from codistill.nn.precision import autocast
from codistill.types import Tokens

Solver = Literal["pnp", "pointmap", "emat", "procrustes"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)
"""Inputs of each solver.

pnp: matches, the reference's points and the query's pixels. pointmap: the query's own points in the reference's frame,
and their pixels; no matches (DUSt3R). emat: essential matrix from matches, with the metric scale from points.
procrustes: points to points.
"""


@dataclass(frozen=True)
class PairPrediction:
    """The network's predictions for a pair, in both orders; maps have the size of the fitted images.

    Attributes:
        fit_a, fit_b: how each image was resized and cropped.
        a, b_in_a: view a and view b, both with points in camera a's frame.
        other_order: computes views b and a with points in camera b's frame. It is called only when needed: it is half
            of the decoder's work, and PnP on matches does not need it.
    """

    fit_a: ImageFit
    fit_b: ImageFit
    a: ViewPrediction
    b_in_a: ViewPrediction
    other_order: Callable[[], tuple[ViewPrediction, ViewPrediction]]

    @cached_property
    def _swapped(self) -> tuple[ViewPrediction, ViewPrediction]:
        return self.other_order()

    @property
    def b(self) -> ViewPrediction:
        """View b, with points in its own camera's frame."""
        return self._swapped[0]

    def swapped(self) -> "PairPrediction":
        """The prediction with the two images exchanged."""
        return PairPrediction(self.fit_b, self.fit_a, *self._swapped, self._given)

    def _given(self) -> tuple[ViewPrediction, ViewPrediction]:
        return self.a, self.b_in_a


@dataclass(frozen=True)
class PairMatches:
    """Matches of a pair with the inputs of each solver; a row is a match.

    Attributes:
        pixels_a, pixels_b: (match, 2), in the original images.
        points_a: (match, 3), in camera a's frame.
        confidence: (match,).
        fitted: the same matches in pixels of the fitted images.
        prediction: the prediction from which `points_b` are taken.
    """

    pixels_a: np.ndarray
    pixels_b: np.ndarray
    points_a: np.ndarray
    confidence: np.ndarray
    fitted: Matches
    prediction: PairPrediction

    @cached_property
    def points_b(self) -> np.ndarray:
        """Points (match, 3), in camera b's own frame."""
        return _at(self.prediction.b.points, self.fitted.pixels2)

    def __len__(self) -> int:
        return len(self.pixels_a)


@dataclass(frozen=True)
class EncodedView:
    """An image's tokens (a batch of one), and how it was resized and cropped for them."""

    tokens: Tokens
    fit: ImageFit


class PairDecoder:
    """A two-view head that decodes tokens of two views, and computes matches and poses from the result.

    Args:
        head: the network.
        subsample: distance between the seeds of matching, pixels.
        border: matches nearer to a border than this are dropped, pixels.
    """

    def __init__(self, head: TwoViewHead, *, subsample: int = 8, border: int = 3) -> None:
        self.head, self.subsample, self.border = head, subsample, border

    @property
    def device(self) -> torch.device:
        return next(self.head.parameters()).device

    def pair(self, first: EncodedView, second: EncodedView) -> PairPrediction:
        """Predict a pair of views that are already encoded."""
        a, b_in_a = self._decode(first.tokens, second.tokens)
        other_order = partial(self._decode, second.tokens, first.tokens)
        return PairPrediction(first.fit, second.fit, a, b_in_a, other_order)

    @torch.inference_mode()
    def _decode(self, first: Tokens, second: Tokens) -> tuple[ViewPrediction, ViewPrediction]:
        with autocast(self.device):
            return self.head(first, second)

    def match(self, pair: PairPrediction, *, max_matches: int | None = None) -> PairMatches:
        """Reciprocal matches of the descriptors, or of the points if a model has no descriptors (DUSt3R).

        Args:
            pair: the predictions.
            max_matches: number of most confident matches to keep.
        """
        first, second = pair.a, pair.b_in_a
        values = _matchable(first, second)
        own = [
            v.confidence if v.descriptor_confidence is None else v.descriptor_confidence
            for v in (first, second)
        ]
        matches = symmetric_matches(
            values[0], values[1], confidence1=own[0][0], confidence2=own[1][0], subsample=self.subsample
        )
        matches = matches.away_from_borders(pair.fit_a.cropped, pair.fit_b.cropped, self.border)
        assert matches.confidence is not None
        if max_matches is not None and len(matches) > max_matches:
            matches = matches.select(matches.confidence.topk(max_matches).indices)
        assert matches.confidence is not None
        return PairMatches(
            pixels_a=pair.fit_a.to_original(matches.pixels1).cpu().numpy(),
            pixels_b=pair.fit_b.to_original(matches.pixels2).cpu().numpy(),
            points_a=_at(pair.a.points, matches.pixels1),
            confidence=matches.confidence.cpu().numpy(),
            fitted=matches,
            prediction=pair,
        )

    def pose(
        self,
        pair: PairPrediction,
        intrinsics_a: np.ndarray,
        intrinsics_b: np.ndarray,
        *,
        solver: Solver = "pnp",
        threshold: float | None = None,
        robust: RobustConfig | None = None,
    ) -> PoseEstimate | None:
        """Estimate the pose that maps camera a's frame to camera b's.

        Args:
            pair: the predictions.
            intrinsics_a, intrinsics_b: (3, 3), of the original images.
            solver: see `SOLVERS`.
            threshold: largest error of an inlier, pixels of the original image (metres for procrustes); None: 0.8 % of
                the image's diagonal, or 2 pixels of the network's image for `emat`, 10 cm for `procrustes`.
            robust: how PnP is solved, and the samples of every solver; None: the defaults.

        Returns:
            The estimate; None if there are too few matches or no consensus.

        Raises:
            ConfigError: for an unknown solver.
        """
        if solver not in SOLVERS:
            raise ConfigError(unknown_name("solver", solver, SOLVERS))
        robust = robust or RobustConfig()
        diagonal = 0.008 * float(np.hypot(*pair.fit_b.original))
        if solver == "pointmap":
            places = confident_points(pair.b_in_a, pair.fit_b)
            return pose_from_points_and_pixels(
                *places, intrinsics_b, threshold=threshold or diagonal, solver=robust.pnp, **robust.draws
            )
        matches = self.match(pair)
        if solver == "pnp":
            places = matches.points_a, matches.pixels_b
            return pose_from_points_and_pixels(
                *places, intrinsics_b, threshold=threshold or diagonal, solver=robust.pnp, **robust.draws
            )
        if solver == "procrustes":
            both = matches.points_a, matches.points_b
            return pose_from_point_pairs(*both, threshold=threshold or 0.1, **robust.draws)
        limit = threshold or 2.0 / min(pair.fit_b.scale)
        pixels = (matches.pixels_a, matches.pixels_b)
        found = pose_from_matches(*pixels, intrinsics_a, intrinsics_b, threshold=limit, **robust.draws)
        return None if found is None else with_metric_scale(found, matches.points_a, matches.points_b)


def _matchable(first: ViewPrediction, second: ViewPrediction) -> tuple[Tensor, Tensor]:
    """Maps whose largest dot products are the nearest neighbours: descriptors, or points extended by two channels."""
    if first.descriptors is not None and second.descriptors is not None:
        return first.descriptors[0], second.descriptors[0]
    lifted = []
    for index, prediction in enumerate((first, second)):
        points = prediction.points[0]
        half, one = -0.5 * points.square().sum(-1, keepdim=True), torch.ones_like(points[..., :1])
        lifted.append(torch.cat((points, half, one) if index == 0 else (points, one, half), dim=-1))
    return lifted[0], lifted[1]  # x . y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2


def _at(maps: Tensor, pixels: Tensor) -> Float[np.ndarray, "match 3"]:
    return maps[0, pixels[:, 1], pixels[:, 0]].double().cpu().numpy()


def confident_points(
    view: ViewPrediction, fit: ImageFit, *, most: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the more confident half of a view's pixels (at most `most`), and these pixels in the original image."""
    confidence = view.confidence[0].flatten()
    count = max(4, min(most, len(confidence) // 2))
    ranked = confidence.argsort(descending=True)[: len(confidence) // 2]
    chosen = ranked[:: max(1, len(ranked) // count)]
    grid = pixel_grid(*fit.cropped, device=confidence.device).flatten(0, 1)
    pixels = fit.to_original(grid[chosen]).double().cpu().numpy()
    return view.points[0].flatten(0, 1)[chosen].double().cpu().numpy(), pixels
