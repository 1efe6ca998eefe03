"""Poses of every pair of a split: a method (a head, a baseline) in, errors and pictures of matches out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.robust import RobustConfig
from codistill.tasks.shared.data import spread
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.two_view.pairs import Pair, PairData
from codistill.tasks.two_view.predict import Solver, TwoViewPredictor
from codistill.tasks.two_view.relocalize.score import PairErrors, pair_errors

Method = Callable[[Pair], PoseEstimate | None]
"""A pair to the pose of its second camera from its first; None where there is none."""


def head_method(
    predictor: TwoViewPredictor,
    solver: Solver,
    threshold: float | None = None,
    robust: RobustConfig | None = None,
) -> Method:
    """A two-view model as a method; poses with less than 6 supporters or absurd translations are dropped.

    Args:
        predictor: on its device.
        solver, threshold, robust: see `TwoViewPredictor.pose`.
    """

    def pose(pair: Pair) -> PoseEstimate | None:
        prediction = predictor(pair.first.image, pair.second.image)
        found = predictor.pose(
            prediction,
            pair.first.intrinsics,
            pair.second.intrinsics,
            solver=solver,
            threshold=threshold,
            robust=robust,
        )
        return found if found is not None and found.is_usable() else None

    return pose


@dataclass(frozen=True)
class RelocalizationResult:
    """Errors of a method, and the poses that they come from.

    Attributes:
        errors: per pair.
        poses: (pair, 4, 4) second from first camera, NaN where there is none.
    """

    errors: PairErrors
    poses: np.ndarray


def evaluate_pairs(
    method: Method, data: PairData, progress: Callable[[int, int], None] = lambda done, total: None
) -> RelocalizationResult:
    """Score a method on every pair.

    Raises:
        DataError: if a pair cannot be used, or there is none.
    """
    names, overlaps, estimates, truth = [], [], [], []
    for index in range(len(data)):
        pair = data[index]
        estimates.append(method(pair))
        names.append(pair.name)
        overlaps.append(pair.overlap)
        truth.append(pair.second_from_first)
        progress(index + 1, len(data))
    matrices = np.array(truth).reshape(-1, 4, 4)
    errors = pair_errors(tuple(names), np.array(overlaps), estimates, matrices, named_groups(data))
    poses = np.stack([np.full((4, 4), np.nan) if e is None else e.matrix() for e in estimates])
    return RelocalizationResult(errors, poses)


def examples(data: PairData, count: int) -> list[Pair]:
    """Evenly spread pairs, for pictures."""
    return [data[index] for index in spread(len(data), count)] if count else []
