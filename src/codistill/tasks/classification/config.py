"""How classifiers of whole images are fitted and scored."""

from dataclasses import dataclass, field
from typing import Literal

from codistill.errors import ConfigError, check_least
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.knn import NEIGHBOURS, TEMPERATURE
from codistill.tasks.classification.logistic import STRENGTHS
from codistill.tasks.classification.released import ReleasedClasses
from codistill.tasks.shared.config import HeadFit


@dataclass(frozen=True, kw_only=True)
class ClassificationFit(HeadFit):
    """Settings of both classifiers.

    Attributes:
        vectors: how tokens become one vector.
        batch_size: images at a time.
    """

    vectors: ImageVectors = field(default_factory=ImageVectors)
    batch_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "batch_size")


@dataclass(frozen=True, kw_only=True)
class KnnFit(ClassificationFit):
    """Nearest neighbours.

    Attributes:
        neighbours: numbers of voters to evaluate; None: those of 10, 20, 100 and 200 that the training set can fill.
        temperature: of the votes.
    """

    neighbours: tuple[int, ...] | None = None
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        super().__post_init__()
        named = NEIGHBOURS if self.neighbours is None else self.neighbours
        if not named or min(named) < 1 or self.temperature <= 0:
            raise ConfigError(f"neighbours and temperature must be positive; got {named}, {self.temperature}")


@dataclass(frozen=True, kw_only=True)
class LinearFit(ClassificationFit):
    """A linear classifier.

    Attributes:
        protocol: `cached`: logistic regression on vectors computed once; `published`: DINOv2's sweep of 52 heads on
            random crops, which choose their own vectors.
        strengths: cached: values of C to choose from.
        steps: published: optimizer steps.
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
        chosen = self.features.blocks != (-1,) or self.vectors.kind != "cls"
        if self.protocol == "published" and chosen:
            raise ConfigError(
                "the published protocol chooses its blocks itself, and what of them: leave --blocks and --vectors.kind "
                "out"
            )
        if not self.strengths or min(self.strengths) <= 0:
            raise ConfigError(f"strengths (C) must be positive; got {self.strengths}")


@dataclass(frozen=True, kw_only=True)
class Votes:
    """How neighbours vote; see `KnnFit`."""

    neighbours: tuple[int, ...]
    temperature: float


KNN_RECIPES = {"usual": KnnFit()}
LINEAR_RECIPES = {"cached": LinearFit(), "published": LinearFit(protocol="published", batch_size=128)}


@dataclass(frozen=True, kw_only=True)
class ClassificationTest:
    """How images are scored.

    Attributes:
        batch_size: images at a time.
    """

    batch_size: int = 32

    def __post_init__(self) -> None:
        check_least(self, "batch_size")


@dataclass(frozen=True, kw_only=True)
class ClassificationOutput(ReleasedClasses):
    """How images of one's own are classified.

    Attributes:
        classes: names of a released classifier's classes: `imagenet1k`, a JSON list, or a text file with a name a line.
    """
