"""Score a depth estimator on a split: mean errors per image with intervals, and example pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from codistill.errors import ConfigError, DataError
from codistill.imaging.colours import depth_picture
from codistill.metrics.depth import DEPTH_METRICS, depth_scores, valid_depth
from codistill.metrics.interval import Interval, bootstrap_mean
from codistill.tasks.dense.depth.data import DepthData
from codistill.tasks.dense.depth.predict import DepthEstimator
from codistill.tasks.shared.data import spread
from codistill.tasks.shared.groups import Groups, named_groups

HEADLINES = ("rmse", "a1", "abs_rel")
"""What a table shows first; rmse is the task's own, in metres."""


@dataclass(frozen=True)
class DepthResult:
    """Scores of one estimator on one split.

    Attributes:
        scores: (image, metric) in the order of `DEPTH_METRICS`; NaN rows for images without known depth.
        names: of the images.
        groups: which images belong together.
        pictures: rows of input, truth, prediction, (row, column, 3) uint8.
    """

    scores: np.ndarray
    names: tuple[str, ...]
    groups: Groups
    pictures: list[list[np.ndarray]]

    @property
    def scored(self) -> np.ndarray:
        """Numbers of the images with known depth.

        Raises:
            DataError: if there are none.
        """
        known = np.flatnonzero(~np.isnan(self.scores[:, 0]))
        if not known.size:
            raise DataError("no image has known depth in the scored range")
        return known

    def intervals(self) -> dict[str, Interval]:
        """Every score with its 95 % interval; groups are resampled."""
        rows, groups = self.scores[self.scored], self.groups.at(self.scored.tolist())
        return {
            name: bootstrap_mean(rows[:, column], groups.names) for column, name in enumerate(DEPTH_METRICS)
        }

    def summary(self) -> dict[str, Any]:
        """Numbers for a metrics file."""
        return {
            "scores": {name: asdict(interval) for name, interval in self.intervals().items()},
            "images_without_truth": int(len(self.scores) - len(self.scored)),
        }


def difference(one: DepthResult, other: DepthResult, metric: str = "rmse") -> Interval:
    """A score of `one` minus that of `other`, with the interval of the paired difference; the same groups are drawn.

    Raises:
        ConfigError: if they were tested on different images.
        DataError: if no image is scored in both.
    """
    if one.names != other.names:
        raise ConfigError("a paired difference needs the same images in the same order")
    column = DEPTH_METRICS.index(metric)
    both = one.scores[:, column] - other.scores[:, column]
    known = np.flatnonzero(~np.isnan(both))
    if not known.size:
        raise DataError("no image has known depth in the scored range of both")
    return bootstrap_mean(both[known], one.groups.at(known.tolist()).names)


def evaluate_depth(
    estimator: DepthEstimator,
    data: DepthData,
    *,
    pictures: int = 6,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DepthResult:
    """Predict and score every image of a split.

    Args:
        estimator: on its device.
        data: the split; its protocol says what is scored.
        pictures: examples to draw, evenly spread.
        progress: called with images done and in all.

    Raises:
        DataError: if a sample cannot be used.
    """
    total, limits = len(data.samples), data.protocol
    shown = set(spread(total, pictures)) if pictures else set()
    scores, names, rows = [], [], []
    for index in range(total):
        sample = data.samples[index]
        predicted = estimator(sample.image)
        truth = torch.from_numpy(sample.target)[None]
        mask = valid_depth(truth, limits.nearest, limits.farthest, limits.eval_crop)
        scores.append(depth_scores(torch.from_numpy(predicted)[None], truth, mask)[0].numpy())
        names.append(sample.name)
        if index in shown:
            rows.append([sample.image, *_pictures(sample.target, predicted, limits.farthest)])
        progress(index + 1, total)
    return DepthResult(np.stack(scores), tuple(names), named_groups(data.samples), rows)


def _pictures(truth: np.ndarray, predicted: np.ndarray, farthest: float) -> list[np.ndarray]:
    """Truth and prediction in one scale of colours: from the truth's nearest to its farthest percentile."""
    known = truth[(truth > 0) & (truth < farthest)]
    near, far = (np.percentile(known, [1, 99])) if known.size else (0.1, farthest)
    limits = (max(float(near), 1e-3), max(float(far), float(near) * 1.01, 2e-3))
    return [depth_picture(truth, *limits), depth_picture(predicted, *limits)]
