"""Relative poses within sets of views as a task, measured as in PoseDiffusion. See `tasks/task.py`.

All pairs of ten random views of a sequence are scored, independently of world frame and scale. Percentages are over the
pairs of a category, then averaged over categories. Source: PoseDiffusion (arXiv 2306.15667), section 4.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError, unknown_name
from codistill.geometry.poses import invert_pose
from codistill.metrics.multiview_pose import MAX_ANGLE, PairErrors, pair_errors, pose_scores
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.task import Column, Outcome, Subject, Summary, Task
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.multiview.data import LAYOUTS, ViewSet, check_sets
from codistill.tasks.two_view.multiview.predict import Estimator, relative_poses
from codistill.tasks.two_view.multiview.score import CategoryMean, category_summary
from codistill.tasks.two_view.options import PoseTest, refuse_without_effect
from codistill.tasks.two_view.pairs import PosedImage
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig

THRESHOLDS = (5, 15, 30)


@dataclass(frozen=True, kw_only=True)
class MultiviewPoseTest(PoseTest):
    """How relative poses are measured.

    Attributes:
        estimator: matches and an essential matrix (MASt3R), pnp on points (DUSt3R), or the global alignment of all
            views.
        frames: views per sequence, drawn without replacement; all if there are fewer.
        seed: seed of the draw, which also depends on the sequence's name but on no other sequence.
        iterations: steps of the alignment; 0 keeps its first guess.
    """

    estimator: Estimator = "matches"
    frames: int = 10
    seed: int = 0
    iterations: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.estimator not in get_args(Estimator):
            raise ConfigError(unknown_name("estimator", self.estimator, get_args(Estimator)))
        if self.frames < 2:
            raise ConfigError(f"poses need 2 views of a sequence at least; got {self.frames}")
        if self.seed < 0:
            raise ConfigError(f"the seed must be 0 or more; got {self.seed}")
        if self.estimator == "matches":
            refuse_without_effect(self, "matches give an essential matrix", ("pnp",))
        if self.estimator != "alignment":
            refuse_without_effect(self, f"--estimator {self.estimator} aligns nothing", ("iterations",))
        assert self.align  # constructing it checks the iterations

    @property
    def align(self) -> AlignConfig:
        return AlignConfig(iterations=self.iterations)

    def chosen(self, name: str, count: int) -> list[int]:
        """Indices of the chosen views of a sequence, in the order drawn."""
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return generator.choice(count, min(count, self.frames), replace=False).tolist()


def score_poses(
    model: TwoViewPredictor, data: TaskData, test: MultiviewPoseTest, runtime: Runtime
) -> Iterator[Outcome]:
    """Yield the errors of the relative poses of all pairs of each sample's views.

    Raises:
        DataError: if a sample cannot be used.
    """

    def read(index: int) -> tuple[ViewSet, list[PosedImage]]:
        sample: ViewSet = data.samples[index]
        return sample, [sample.read(number) for number in test.chosen(sample.name, len(sample))]

    for sample, views in read_ahead(read, len(data.samples), runtime.workers):
        images = [view.image for view in views]
        found = relative_poses(model, images, test.estimator, test.align, test.robust)
        poses = torch.from_numpy(np.stack([view.camera_to_world for view in views])).double()
        error = errors_of_pairs(found, invert_pose(poses))
        scored = pose_scores([error], THRESHOLDS)
        values = {
            "scores": np.array([*scored.rra.values(), *scored.rta.values(), scored.maa]),
            "pairs": scored.pairs,
            "category": np.array(sample.category),
        }
        rows = {"rotation": error.rotation.numpy(), "translation": error.translation.numpy()}
        yield Outcome(sample.name, values, rows)


def errors_of_pairs(relative: Tensor, truth: Tensor) -> PairErrors:
    """Errors of pairwise relative poses, which need not be consistent with each other.

    Args:
        relative: (pair, 4, 4), camera j from camera i for all i < j; NaN without an estimate.
        truth: (view, 4, 4) world-to-camera.
    """
    first, second = torch.triu_indices(len(truth), len(truth), offset=1)
    origin = torch.eye(4, dtype=torch.float64)
    parts = [
        pair_errors(torch.stack((origin, pose.double())), torch.stack((truth[i], truth[j])))
        for pose, i, j in zip(relative, first.tolist(), second.tolist(), strict=True)
    ]
    return PairErrors(
        torch.cat([part.rotation for part in parts]), torch.cat([part.translation for part in parts])
    )


COLUMNS = {
    name: Column(
        title=title, statistic=CategoryMean(index), digits=1, headline=name in ("rra_15", "rta_15", "maa_30")
    )
    for index, (name, title) in enumerate(
        [
            *((f"rra_{limit}", f"RRA@{limit} (%)") for limit in THRESHOLDS),
            *((f"rta_{limit}", f"RTA@{limit} (%)") for limit in THRESHOLDS),
            (f"maa_{MAX_ANGLE}", f"mAA@{MAX_ANGLE} (%)"),
        ]
    )
}
"""Per cent of the pairs; see `metrics.multiview_pose`."""


def _load(subject: Subject, test: MultiviewPoseTest, data: TaskData) -> TwoViewPredictor:
    return TwoViewPredictor(open_two_view(subject), subsample=test.subsample, long_edge=test.long_edge)


def _summarize(table: ScoreTable, data: TaskData, test: MultiviewPoseTest) -> Summary:
    return category_summary(table, COLUMNS, {"pairs": int(table.values["pairs"].sum())})


TASK = Task(
    name="multiview-pose",
    about="relative poses within sets of views, no intrinsics given: a two-view head, a released model",
    heads="two-view",
    features=("encoder",),
    layouts=LAYOUTS,
    check=check_sets,
    load=_load,
    test=MultiviewPoseTest,
    score=score_poses,
    columns=COLUMNS,
    unit="percent of pairs; means over categories",
    shown=(),
    samples="samples",
    summarize=_summarize,
)
