"""Methods that locate cameras: a two-view model or a baseline; from a pair of images to the second camera's pose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codistill.errors import ConfigError
from codistill.geometry.estimate import PoseEstimate
from codistill.tasks.layout import TaskData
from codistill.tasks.opening import open_split
from codistill.tasks.task import Subject
from codistill.tasks.two_view.decode import Solver
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.layouts import LAYOUTS
from codistill.tasks.two_view.options import PoseTest, refuse_without_effect
from codistill.tasks.two_view.pairs import Pair
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.relocalize.baselines import (
    LoftrMatcher,
    Matches,
    TrainingMotion,
    matched_pose,
    no_motion,
    sift_matches,
    training_motion,
)

_MATCHERS = ("sift", "loftr")
_UNKNOWN_LENGTH = 1.0
"""Assumed distance in metres between the cameras of a Map-free pair, for matchers."""


@dataclass(frozen=True, kw_only=True)
class RelocalizationTest(PoseTest):
    """How the second camera of a pair is located.

    Attributes:
        solver: pnp (matches, the reference's points, the query's pixels), pointmap (the query's own points and pixels),
            emat (essential matrix, metric scale from points), procrustes (points to points).
        threshold: largest error of inliers: pixels of the original image, metres for procrustes; None: 0.8 % of the
            diagonal, 2 network pixels for emat, 0.1 m.
    """

    solver: Solver = "pnp"
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and not self.threshold > 0:
            raise ConfigError(f"--threshold must be above 0; got {self.threshold:g}")
        if self.solver in ("emat", "procrustes"):
            refuse_without_effect(self, f"--solver {self.solver} is no PnP", ("pnp",))


@dataclass(frozen=True, kw_only=True)
class Locator:
    """A method that locates the second camera of a pair.

    Attributes:
        locate: returns the second-from-first pose of a pair, or None.
        matches: returns the matched pixels of a pair, for pictures; None for methods without matches.
        network: the part that moves between devices.
        describe: returns JSON values for a metrics file.
    """

    locate: Callable[[Pair], PoseEstimate | None]
    matches: Callable[[Pair], Matches] | None = None
    network: TwoViewPredictor | LoftrMatcher | None = None
    describe: Callable[[], dict[str, Any]] = dict

    def to(self, device: torch.device | str) -> "Locator":
        if self.network is not None:
            self.network.to(device)
        return self


def head_locator(predictor: TwoViewPredictor, test: RelocalizationTest) -> Locator:
    """Make a locator from a two-view model; poses with fewer than 6 inliers or absurd translations are dropped."""

    def locate(pair: Pair) -> PoseEstimate | None:
        found = predictor.pose(
            predictor(pair.first.image, pair.second.image),
            pair.first.intrinsics,
            pair.second.intrinsics,
            solver=test.solver,
            threshold=test.threshold,
            robust=test.robust,
        )
        return found if found is not None and found.is_usable() else None

    def matches(pair: Pair) -> Matches:
        found = predictor.match(predictor(pair.first.image, pair.second.image))
        return found.pixels_a, found.pixels_b

    return Locator(locate=locate, matches=matches, network=predictor, describe=predictor.describe)


def baseline_locator(name: str, motion: TrainingMotion | None, test: RelocalizationTest) -> Locator:
    """Make a locator from a baseline.

    Args:
        name: one of `baselines.BASELINES`.
        motion: motion of the training pairs; needed for all but `none`.
        test: how poses are estimated.

    Raises:
        MissingExtraError, CheckpointError: for `loftr` without kornia, or without its weights.
    """
    if motion is None:
        return Locator(locate=no_motion)
    if name == "median":
        return Locator(locate=lambda _: motion.estimate(), describe=motion.describe)
    network = LoftrMatcher() if name == "loftr" else None
    matcher = network or sift_matches

    def matches(pair: Pair) -> Matches:
        return matcher(pair.first.image, pair.second.image)

    return Locator(
        locate=lambda pair: matched_pose(pair, matches(pair), motion.length, test.robust),
        matches=matches,
        network=network,
        describe=motion.describe,
    )


def load_locator(subject: Subject, test: RelocalizationTest, data: TaskData) -> Locator:
    """Load the subject's locator for pairs of `data`; see `open_locator`."""
    return open_locator(subject, test, data.spec)


def open_locator(subject: Subject, test: RelocalizationTest, spec: str) -> Locator:
    """Load the subject's locator.

    Args:
        subject: a head, a released model, or a baseline.
        test: how poses are estimated.
        spec: `LAYOUT:FOLDER` of the data; baselines read its training pairs.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if two of them are named, or an option would have no effect.
        DataError: if a baseline needs training pairs that are missing.
    """
    name = subject.baseline
    if name is None:
        opened = open_two_view(subject)
        predictor = TwoViewPredictor(opened, subsample=test.subsample, long_edge=test.long_edge)
        return head_locator(predictor, test)
    if subject.head is not None or subject.model is not None or subject.features is not None:
        raise ConfigError(f"--baseline {name} needs no head: leave out --head, --model and --encoder")
    if name in _MATCHERS:
        idle = ("solver", "threshold", "pnp", "long_edge", "subsample")
        refuse_without_effect(test, f"--baseline {name} has its own essential matrix", idle)
    else:
        refuse_without_effect(test, f"--baseline {name} looks at no image")
    return baseline_locator(name, _motion(name, spec), test)


def _motion(name: str, spec: str) -> TrainingMotion | None:
    if name == "none":
        return None
    if name in _MATCHERS and spec.startswith("mapfree:"):
        return TrainingMotion(np.zeros(3), np.zeros(3), _UNKNOWN_LENGTH, 0)
    return training_motion(open_split(LAYOUTS, spec, "train").samples)
