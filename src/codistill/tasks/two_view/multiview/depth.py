"""Depth of key views as a task, measured as in Robust MVD. See `tasks/task.py`.

Each source view gives a depth map of the key view. Sources are added one by one, their depths are fused, and the best
of these growing sets is scored. The order `quasi-optimal` ranks sources by their own error, `nearest` by their distance
from the key in the list of views. In both cases the ground truth selects the set. The score of all sources together,
which needs no ground truth, is reported as well.

Sources: Robust MVD (arXiv 2209.06681), sections 3 and 4; DUSt3R (arXiv 2312.14132), section 4.4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError, DataError, unknown_name
from codistill.imaging.colours import depth_picture, depth_range
from codistill.imaging.legends import depth_legend
from codistill.metrics.multiview_depth import (
    Alignment,
    DepthScores,
    align_depth,
    best_growing_set,
    depth_scores,
    fuse_depths,
    median,
)
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.task import Column, Outcome, Task
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.multiview.data import LAYOUTS, ViewSet, check_keys
from codistill.tasks.two_view.multiview.predict import in_original, pair_depth
from codistill.tasks.two_view.multiview.score import CategoryMean, category_summary
from codistill.tasks.two_view.options import ModelTest
from codistill.tasks.two_view.pairs import PosedImage
from codistill.tasks.two_view.predict import TwoViewPredictor

Order = Literal["quasi-optimal", "nearest"]
_NOTHING = DepthScores(100.0, 0.0)
_UNIT = (
    "percent: means over categories. relative, inliers: best of the growing sets; _all: all sources together"
)


@dataclass(frozen=True, kw_only=True)
class MultiviewDepthTest(ModelTest):
    """How depth is measured.

    Attributes:
        sources: order in which source views are added: by their own error (uses the ground truth), or by distance from
            the key in the list of views.
        max_sources: largest number of sources; None: all.
        alignment: alignment of the prediction to the ground truth.
    """

    sources: Order = "quasi-optimal"
    max_sources: int | None = None
    alignment: Alignment = "median"

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, value, known in (
            ("order of sources", self.sources, get_args(Order)),
            ("alignment", self.alignment, get_args(Alignment)),
        ):
            if value not in known:
                raise ConfigError(unknown_name(what, value, known))
        if self.max_sources is not None and self.max_sources < 1:
            raise ConfigError(f"the number of sources must be 1 or more; got {self.max_sources}")


def score_depth(
    model: TwoViewPredictor, data: TaskData, test: MultiviewDepthTest, runtime: Runtime
) -> Iterator[Outcome]:
    """Yield the scores of the depth of every sample's key view.

    Raises:
        DataError: if a sample cannot be used, or its key view has no known depth.
    """

    def read(index: int) -> tuple[ViewSet, list[PosedImage]]:
        sample: ViewSet = data.samples[index]
        return sample, [sample.read(number) for number in range(len(sample))]

    for sample, views in read_ahead(read, len(data.samples), runtime.workers):
        key = KeyDepth(model, views, sample.key(), test.alignment)
        order = key.ranked() if test.sources == "quasi-optimal" else key.nearest()
        order = order[: test.max_sources]
        best, chosen = best_growing_set(order, key.score)
        together = key.score(tuple(order))
        scores = np.array([best.relative, best.inliers, together.relative, together.inliers])
        values = {"scores": scores, "category": np.array(sample.category), "sources_used": len(chosen)}
        yield Outcome(sample.name, values, draw=partial(key.picture, tuple(chosen)))


class KeyDepth:
    """A key view with its predictions from pairs with every source; each set of sources is scored once (cached).

    Args:
        predictor: the two-view model, on its device.
        views: of a sample.
        key: index of the key view.
        alignment: alignment of the prediction to the ground truth.

    Raises:
        DataError: if no depth of the key view is known.
    """

    def __init__(
        self, predictor: TwoViewPredictor, views: Sequence[PosedImage], key: int, alignment: Alignment
    ) -> None:
        view = views[key]
        truth = np.where(np.isfinite(view.depth), view.depth, 0.0)
        if not (truth > 0).any():
            raise DataError(f"{view.name}: no depth of this key view is known, so nothing can be scored")
        sources = [number for number in range(len(views)) if number != key]
        found = [pair_depth(predictor, view.image, views[number].image) for number in sources]
        self.image = view.image
        self.alignment: Alignment = alignment
        self.depths = torch.stack([one.depth for one in found])
        self.confidences = torch.stack([one.confidence for one in found])
        self.fit = found[0].fit
        self.truth = torch.from_numpy(truth).double().to(self.depths.device)
        self.distances = [abs(number - key) for number in sources]
        self._scores: dict[tuple[int, ...], DepthScores] = {}

    def nearest(self) -> list[int]:
        """Sources by their distance from the key in the list of views; at equal distance, the earlier view first."""
        return sorted(range(len(self.distances)), key=lambda number: self.distances[number])

    def ranked(self) -> list[int]:
        """Sources by the relative error that each gives alone."""
        return sorted(range(len(self.depths)), key=lambda number: self.score((number,)).relative)

    def aligned(self, sources: tuple[int, ...]) -> Tensor:
        """Fused and aligned depth at each pixel of the key view, 0 without a prediction.

        Medians are taken over pixels with a prediction: over all pixels, including points behind the camera, they could
        be 0.
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
        """Scores of the key view's depth from some sources; pixels without a prediction count as wrong."""
        if sources not in self._scores:
            depth = self.aligned(sources)
            empty = not bool(((self.truth > 0) & (depth > 0)).any())
            self._scores[sources] = _NOTHING if empty else depth_scores(depth, self.truth, alignment="none")
        return self._scores[sources]

    def picture(self, sources: tuple[int, ...]) -> list[np.ndarray]:
        """Image, ground truth and aligned prediction."""
        depth, truth = self.aligned(sources).cpu().numpy(), self.truth.cpu().numpy()
        return [self.image, *(depth_picture(values, *depth_range(truth)) for values in (truth, depth))]


def _column(title: str, index: int, *, short: bool = False) -> Column:
    return Column(
        title=title, statistic=CategoryMean(index), digits=2, headline=short, higher="error" not in title
    )


COLUMNS = {
    "relative": _column("rel. error (%)", 0, short=True),
    "inliers": _column("inliers (%)", 1, short=True),
    "relative_all": _column("rel. error, all sources (%)", 2),
    "inliers_all": _column("inliers, all sources (%)", 3),
}


TASK = Task(
    name="multiview-depth",
    about="depth of key views from their sources (Robust MVD): a two-view head, a released model",
    heads="two-view",
    features=("encoder",),
    layouts=LAYOUTS,
    check=check_keys,
    load=lambda subject, test, data: TwoViewPredictor(open_two_view(subject), long_edge=test.long_edge),
    test=MultiviewDepthTest,
    score=score_depth,
    columns=COLUMNS,
    unit=_UNIT,
    samples="samples",
    summarize=lambda table, data, test: replace(category_summary(table, COLUMNS, {}), legend=depth_legend),
)
