"""Relative poses within sets of views as PoseDiffusion measures them: samples and a two-view model in, scores out.

Ten random views of a sequence, all pairs of them, whatever the world frame and the scale; percentages are over the
pairs of a category, then averaged over categories. Source: PoseDiffusion (arXiv 2306.15667), section 4.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError, unknown_name
from codistill.geometry.poses import invert_pose
from codistill.geometry.robust import RobustConfig
from codistill.metrics.multiview_pose import MAX_ANGLE, PairErrors, pair_errors, pose_scores
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.two_view.multiview.data import ViewSets
from codistill.tasks.two_view.multiview.predict import ESTIMATORS, Estimator, relative_poses
from codistill.tasks.two_view.multiview.score import MultiviewResult
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig

THRESHOLDS = (5, 15, 30)
POSE_SCORES = (
    *(f"rra_{limit}" for limit in THRESHOLDS),
    *(f"rta_{limit}" for limit in THRESHOLDS),
    f"maa_{MAX_ANGLE}",
)
"""Percent of the pairs, see `metrics.multiview_pose`."""


@dataclass(frozen=True, kw_only=True)
class PoseProtocol:
    """How poses are measured.

    Attributes:
        estimator: see `predict.ESTIMATORS`.
        frames: views of each sequence, drawn without replacement; all where there are fewer.
        seed: of the draw, which also depends on the sequence's name, so that no other sequence changes it.
        align: of the global alignment.
        robust: how poses are estimated under outliers.
    """

    estimator: Estimator = "matches"
    frames: int = 10
    seed: int = 0
    align: AlignConfig = field(default_factory=AlignConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigError(unknown_name("estimator", self.estimator, ESTIMATORS))
        if self.frames < 2:
            raise ConfigError(f"poses need 2 views of a sequence at least; got {self.frames}")
        if self.seed < 0:
            raise ConfigError(f"the seed must be 0 or more; got {self.seed}")

    def chosen(self, name: str, count: int) -> list[int]:
        """The views of a sequence that take part, in the order drawn."""
        generator = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return generator.choice(count, min(count, self.frames), replace=False).tolist()


def evaluate_pose(
    predictor: TwoViewPredictor,
    data: ViewSets,
    protocol: PoseProtocol,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MultiviewResult:
    """Relative poses of all pairs of every sample's views.

    Raises:
        DataError: if a sample cannot be used.
    """
    sums, names, categories, errors = [], [], [], []
    for index in range(len(data)):
        sample = data[index]
        views = [sample.read(number) for number in protocol.chosen(sample.name, len(sample))]
        images = [view.image for view in views]
        found = relative_poses(predictor, images, protocol.estimator, protocol.align, protocol.robust)
        poses = torch.from_numpy(np.stack([view.camera_to_world for view in views])).double()
        error = errors_of_pairs(found, invert_pose(poses))
        scored = pose_scores([error], THRESHOLDS)
        sums.append(np.array([*scored.rra.values(), *scored.rta.values(), scored.maa]) * scored.pairs)
        errors.append(error)
        names.append(sample.name)
        categories.append(sample.category)
        progress(index + 1, len(data))
    pairs = np.array([len(error.rotation) for error in errors])
    return MultiviewResult(
        scores=POSE_SCORES,
        sums=np.array(sums).reshape(-1, len(POSE_SCORES)),
        weights=pairs.astype(np.float64),
        names=tuple(names),
        categories=tuple(categories),
        groups=named_groups(data),
        details={
            "pairs": pairs,
            "rotation": np.concatenate([error.rotation.numpy() for error in errors]),
            "translation": np.concatenate([error.translation.numpy() for error in errors]),
        },
        pictures=[],
    )


def errors_of_pairs(relative: Tensor, truth: Tensor) -> PairErrors:
    """Errors of poses that need not agree with each other.

    Args:
        relative: (pair, 4, 4), camera j from camera i for all i < j; NaN where there is none.
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
