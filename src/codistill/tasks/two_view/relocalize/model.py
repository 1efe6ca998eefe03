"""What locates cameras: a two-view model, or a baseline; a pair of images in, the pose of the second camera out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codistill.errors import ConfigError
from codistill.geometry.estimate import PoseEstimate
from codistill.tasks.opening import open_split
from codistill.tasks.task import Subject, TaskData
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.layouts import LAYOUTS
from codistill.tasks.two_view.options import PoseTest, refuse_without_effect
from codistill.tasks.two_view.pairs import Pair
from codistill.tasks.two_view.predict import Solver, TwoViewPredictor
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
"""Metres between the cameras of a pair of Map-free, for matchers."""


@dataclass(frozen=True, kw_only=True)
class RelocalizationTest(PoseTest):
    """How the second camera of a pair is located.

    Attributes:
        solver: pnp (matches, the reference's points, the query's pixels), pointmap (the query's own points and pixels),
            emat (essential matrix, metric scale from points), procrustes (points to points).
        threshold: of inliers: pixels of the original image, metres for procrustes; None: 0.8 % of the diagonal, 2
            network pixels for emat, 0.1 m.
    """

    solver: Solver = "pnp"
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and not self.threshold > 0:
            raise ConfigError(f"--threshold must be above 0; got {self.threshold:g}")
        if self.solver in ("emat", "procrustes"):
            refuse_without_effect(self, f"--solver {self.solver} is no PnP", ("pnp",))


class HeadLocator:
    """A two-view model with a solver.

    Args:
        predictor: the model.
        test: how poses are solved.

    Attributes:
        draws: whether there are matches to draw.
    """

    draws = True

    def __init__(self, predictor: TwoViewPredictor, test: RelocalizationTest) -> None:
        self.predictor, self.test = predictor, test

    def to(self, device: torch.device | str) -> "HeadLocator":
        """Move it."""
        self.predictor.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """What a metrics file says of it."""
        return self.predictor.describe()

    def __call__(self, pair: Pair) -> PoseEstimate | None:
        """The pose; None for less than 6 supporters or absurd translations."""
        found = self.predictor.pose(
            self.predictor(pair.first.image, pair.second.image),
            pair.first.intrinsics,
            pair.second.intrinsics,
            solver=self.test.solver,
            threshold=self.test.threshold,
            robust=self.test.robust,
        )
        return found if found is not None and found.is_usable() else None

    def matches(self, pair: Pair) -> Matches:
        """Matched pixels, for pictures."""
        found = self.predictor.match(self.predictor(pair.first.image, pair.second.image))
        return found.pixels_a, found.pixels_b


class BaselineLocator:
    """What needs no head.

    Args:
        name: one of `baselines.BASELINES`.
        motion: of the training pairs, where the baseline needs it.
        test: how poses are solved.

    Attributes:
        draws: whether there are matches to draw.

    Raises:
        MissingExtraError, CheckpointError: for `loftr` without kornia, or without its weights.
    """

    def __init__(self, name: str, motion: TrainingMotion | None, test: RelocalizationTest) -> None:
        self.motion, self.test = motion, test
        self.matcher: Callable[[np.ndarray, np.ndarray], Matches] | None = None
        if name in _MATCHERS:
            self.matcher = sift_matches if name == "sift" else LoftrMatcher()
        self.draws = self.matcher is not None

    def to(self, device: torch.device | str) -> "BaselineLocator":
        """Move it."""
        if isinstance(self.matcher, LoftrMatcher):
            self.matcher.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        """What a metrics file says of it."""
        return {} if self.motion is None else {"training_motion": self.motion.as_json()}

    def __call__(self, pair: Pair) -> PoseEstimate | None:
        """The pose."""
        if self.motion is None:
            return no_motion(pair)
        if self.matcher is None:
            return self.motion.estimate()
        return matched_pose(pair, self.matches(pair), self.motion.length, self.test.robust)

    def matches(self, pair: Pair) -> Matches:
        """Matched pixels."""
        assert self.matcher is not None
        return self.matcher(pair.first.image, pair.second.image)


Locator = HeadLocator | BaselineLocator


def load_locator(subject: Subject, test: RelocalizationTest, data: TaskData) -> Locator:
    """What was named, for pairs of some data; see `open_locator`."""
    return open_locator(subject, test, data.spec)


def open_locator(subject: Subject, test: RelocalizationTest, spec: str) -> Locator:
    """What was named.

    Args:
        subject: a head, a released model, or a baseline.
        test: how poses are solved.
        spec: of the data; baselines look at its training pairs.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if two things are named, or an option would have no effect.
        DataError: if a baseline needs training pairs that are not there.
    """
    name = subject.baseline
    if name is None:
        opened = open_two_view(subject)
        return HeadLocator(TwoViewPredictor(opened, subsample=test.subsample, long_edge=test.long_edge), test)
    if subject.head is not None or subject.model is not None or subject.features is not None:
        raise ConfigError(f"--baseline {name} needs no head: leave out --head, --model and --encoder")
    if name in _MATCHERS:
        idle = ("solver", "threshold", "pnp", "long_edge", "subsample")
        refuse_without_effect(test, f"--baseline {name} has its own essential matrix", idle)
    else:
        refuse_without_effect(test, f"--baseline {name} looks at no image")
    return BaselineLocator(name, _motion(name, spec), test)


def _motion(name: str, spec: str) -> TrainingMotion | None:
    if name == "none":
        return None
    if name in _MATCHERS and spec.startswith("mapfree:"):
        return TrainingMotion(np.zeros(3), np.zeros(3), _UNKNOWN_LENGTH, 0)
    return training_motion(open_split(LAYOUTS, spec, "train").samples)
