"""Depth of key views as Robust MVD measures it: samples and a two-view model in, scores of every sample out.

Each source gives a depth map of the key view; sources are added one by one and their depths fused, and the best of
these growing sets counts. The order `quasi-optimal` ranks sources by their own error, `nearest` by their distance to
the key in the order of the views. Either way the truth picks the set, so the score of all sources together, which
needs no truth, stands beside it.
Sources: Robust MVD (arXiv 2209.06681), sections 3 and 4; DUSt3R (arXiv 2312.14132), section 4.4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError, DataError, unknown_name
from codistill.imaging.colours import depth_picture, depth_range
from codistill.metrics.multiview_depth import (
    Alignment,
    DepthScores,
    align_depth,
    best_growing_set,
    depth_scores,
    fuse_depths,
    median,
)
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.two_view.multiview.data import ViewSet, ViewSets
from codistill.tasks.two_view.multiview.predict import in_original, pair_depth
from codistill.tasks.two_view.multiview.score import MultiviewResult
from codistill.tasks.two_view.predict import TwoViewPredictor

Order = Literal["quasi-optimal", "nearest"]
ORDERS: tuple[Order, ...] = ("quasi-optimal", "nearest")
ALIGNMENTS: tuple[Alignment, ...] = ("median", "none", "inverse_least_squares")
DEPTH_SCORES = ("relative", "inliers", "relative_all", "inliers_all")
"""Percent: relative error and inliers (3 %) of the best set of sources, then of all sources together."""
_NOTHING = DepthScores(100.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """How depth is measured.

    Attributes:
        order: in which sources are added.
        alignment: of the prediction to the truth.
        most: sources at most; None takes all.
        pictures: samples that are drawn.
    """

    order: Order = "quasi-optimal"
    alignment: Alignment = "median"
    most: int | None = None
    pictures: int = 0

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ConfigError(unknown_name("order of sources", self.order, ORDERS))
        if self.alignment not in ALIGNMENTS:
            raise ConfigError(unknown_name("alignment", self.alignment, ALIGNMENTS))
        if self.most is not None and self.most < 1:
            raise ConfigError(f"the number of sources must be 1 or more; got {self.most}")


def evaluate_depth(
    predictor: TwoViewPredictor,
    data: ViewSets,
    protocol: DepthProtocol,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MultiviewResult:
    """Depth of every sample's key view.

    Raises:
        DataError: if a sample cannot be used, or its key view has no known depth.
    """
    scores, names, categories, used, pictures = [], [], [], [], []
    for index in range(len(data)):
        sample = data[index]
        key = KeyDepth(predictor, sample, protocol.alignment)
        order = key.ranked() if protocol.order == "quasi-optimal" else key.nearest()
        order = order[: protocol.most]
        best, chosen = best_growing_set(order, key.score)
        together = key.score(tuple(order))
        scores.append([best.relative, best.inliers, together.relative, together.inliers])
        used.append(len(chosen))
        names.append(sample.name)
        categories.append(sample.category)
        if len(pictures) < protocol.pictures:
            pictures.append(key.picture(chosen))
        progress(index + 1, len(data))
    table = np.array(scores).reshape(-1, len(DEPTH_SCORES))
    return MultiviewResult(
        scores=DEPTH_SCORES,
        sums=table,
        weights=np.ones(len(names)),
        names=tuple(names),
        categories=tuple(categories),
        groups=named_groups(data),
        details={"scores": table, "sources_used": np.array(used)},
        pictures=pictures,
    )


class KeyDepth:
    """A key view with what the model says of it beside every source; every set of sources is scored once.

    Args:
        predictor: on its device.
        sample: with a key view.
        alignment: of the prediction to the truth.

    Raises:
        DataError: if a view cannot be used, or no depth of the key is known.
    """

    def __init__(self, predictor: TwoViewPredictor, sample: ViewSet, alignment: Alignment) -> None:
        key = sample.key()
        view = sample.read(key)
        truth = np.where(np.isfinite(view.depth), view.depth, 0.0)
        if not (truth > 0).any():
            raise DataError(f"{view.name}: no depth of this key view is known, so nothing can be scored")
        sources = [number for number in range(len(sample)) if number != key]
        found = [pair_depth(predictor, view.image, sample.read(number).image) for number in sources]
        self.image = view.image
        self.alignment: Alignment = alignment
        self.depths = torch.stack([one.depth for one in found])
        self.confidences = torch.stack([one.confidence for one in found])
        self.fit = found[0].fit
        self.truth = torch.from_numpy(truth).double().to(self.depths.device)
        self.distances = [abs(number - key) for number in sources]
        self._scores: dict[tuple[int, ...], DepthScores] = {}

    def nearest(self) -> list[int]:
        """Sources by their distance to the key in the order of the views; the earlier one first."""
        return sorted(range(len(self.distances)), key=lambda number: self.distances[number])

    def ranked(self) -> list[int]:
        """Sources by the relative error of each alone."""
        return sorted(range(len(self.depths)), key=lambda number: self.score((number,)).relative)

    def aligned(self, sources: tuple[int, ...]) -> Tensor:
        """Fused and aligned depth at every pixel of the key view, 0 where nothing is predicted.

        Medians are of the pixels that are predicted: with points behind the camera, those of all pixels may be 0.
        """
        chosen = list(sources)
        depth = in_original(fuse_depths(self.depths[chosen], self.confidences[chosen]), self.fit).double()
        depth = depth.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        both = (self.truth > 0) & (depth > 0)
        if not bool(both.any()):
            return torch.zeros_like(depth)
        if self.alignment == "median":
            return depth * (median(self.truth[both]) / median(depth[both]))
        return torch.where(depth > 0, align_depth(depth, self.truth, self.alignment), 0.0)

    def score(self, sources: tuple[int, ...]) -> DepthScores:
        """Of the key view's depth from some sources; all wrong where nothing is predicted."""
        if sources not in self._scores:
            depth = self.aligned(sources)
            empty = not bool(((self.truth > 0) & (depth > 0)).any())
            self._scores[sources] = _NOTHING if empty else depth_scores(depth, self.truth, alignment="none")
        return self._scores[sources]

    def picture(self, sources: tuple[int, ...]) -> list[np.ndarray]:
        """Image, truth, aligned prediction."""
        depth, truth = self.aligned(sources).cpu().numpy(), self.truth.cpu().numpy()
        return [self.image, *(depth_picture(values, *depth_range(truth)) for values in (truth, depth))]
