"""Options for fitting and scoring classifiers of whole images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from codistill.errors import ConfigError, check_least
from codistill.files.idle import Idle
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.knn import NEIGHBOURS, TEMPERATURE
from codistill.tasks.classification.logistic import STRENGTHS
from codistill.tasks.classification.released import ReleasedClasses
from codistill.tasks.shared.config import HeadFit


@dataclass(frozen=True, kw_only=True)
class ClassificationFit(HeadFit):
    """Settings that both classifiers share.

    Attributes:
        vectors: how tokens become one vector.
        batch_size: images per batch.
    """

    vectors: ImageVectors = field(default_factory=ImageVectors)
    batch_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "batch_size")

    def idle_computing(self) -> Iterator[Idle]:
        yield "recompute", "no transformer block trains"


@dataclass(frozen=True, kw_only=True)
class KnnFit(ClassificationFit):
    """Settings of the nearest-neighbour classifier.

    Attributes:
        neighbours: numbers of neighbours that vote, each evaluated; None: those of 10, 20, 100 and 200 that the
            training set is large enough for.
        temperature: temperature of the votes.
    """

    neighbours: tuple[int, ...] | None = None
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        super().__post_init__()
        named = NEIGHBOURS if self.neighbours is None else self.neighbours
        if not named or min(named) < 1 or not 0 < self.temperature < math.inf:
            raise ConfigError(f"neighbours and temperature must be positive; got {named}, {self.temperature}")

    def idle_computing(self) -> Iterator[Idle]:
        yield from super().idle_computing()
        yield "cache", "the vectors are the head itself, and lie in its folder"


@dataclass(frozen=True, kw_only=True)
class LinearFit(ClassificationFit):
    """Settings of the linear classifier.

    Attributes:
        protocol: `cached`: logistic regression on vectors computed once; `published`: DINOv2's sweep of 52 heads on
            random crops; its heads choose their input vectors themselves.
        strengths: values of C to choose from, for the protocol `cached`.
        steps: optimizer steps, for the protocol `published`.
    """

    protocol: Literal["cached", "published"] = "cached"
    strengths: tuple[float, ...] = STRENGTHS
    steps: int = 12_500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in ("cached", "published") or self.steps < 1:
            raise ConfigError(
                f"protocol must be cached or published, steps 1 or more; got {self.protocol}, {self.steps}"
            )
        if not self.strengths or not all(0 < strength < math.inf for strength in self.strengths):
            raise ConfigError(f"strengths (C) must be positive; got {self.strengths}")

    def idle(self) -> Iterator[Idle]:
        yield from super().idle()
        if self.protocol == "cached":
            yield "steps", "logistic regression runs until it converges (the recipe `published` has steps)"
        else:
            yield "strengths", "the published protocol sweeps learning rates"
            chooses = "the published protocol chooses its blocks itself, and what of them"
            yield from (("features.blocks", chooses), ("vectors.kind", chooses))

    def idle_computing(self) -> Iterator[Idle]:
        yield from super().idle_computing()
        if self.protocol == "published":
            yield "cache", "the published protocol keeps no features"


@dataclass(frozen=True, kw_only=True)
class Votes:
    """How neighbours vote; fields as in `KnnFit`."""

    neighbours: tuple[int, ...]
    temperature: float


KNN_RECIPES = {"usual": KnnFit()}
LINEAR_RECIPES = {"cached": LinearFit(), "published": LinearFit(protocol="published", batch_size=128)}


@dataclass(frozen=True, kw_only=True)
class ClassificationTest:
    """How images are scored.

    Attributes:
        batch_size: images per batch.
    """

    batch_size: int = 32

    def __post_init__(self) -> None:
        check_least(self, "batch_size")


@dataclass(frozen=True, kw_only=True)
class ClassificationOutput(ReleasedClasses):
    """How a user's own images are classified.

    Attributes:
        classes: names of a released classifier's classes: `imagenet1k`, a JSON list, or a text file with one name per
            line.
    """
