"""What the demo's page tells, gathered: values only, so that the page can be made and tested without a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codistill.demo.pictures import Cloud, FeatureSheet, Seen
from codistill.metrics.interval import Interval


@dataclass(frozen=True)
class Taught:
    """A teacher of the live distillation.

    Attributes:
        name, encoder, domain, licence: as the run describes it.
        steps, losses: of the run, the same number of each.
    """

    name: str
    encoder: str
    domain: str
    licence: str
    steps: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything on the page.

    Attributes:
        model: name of the model that answers.
        facts: of `Perception.describe`.
        scores: of the model's heads: (head, score, value with its interval, what it was measured on).
        seen: images with all answers.
        cloud: points of a pair, or None without a head for pairs.
        sheet: features of teachers and students.
        teachers: of the live distillation.
        steps, batch, seconds: of the live distillation.
        likeness: by student and teacher: cosine of its prediction to the teacher's tokens on held-out images.
        held_out: how many images that were.
        commands: (what a step does, its command).
        took: seconds of the whole demo.
    """

    model: str
    facts: Mapping[str, Any]
    scores: Sequence[tuple[str, str, str, str]]
    seen: Sequence[Seen]
    cloud: Cloud | None
    sheet: FeatureSheet
    teachers: Sequence[Taught]
    steps: int
    batch: int
    seconds: float
    likeness: Mapping[str, Mapping[str, Interval]]
    held_out: int
    commands: Sequence[tuple[str, str]]
    took: float
