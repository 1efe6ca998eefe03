"""The content of the demo page as plain values, so that the page can be made and tested without a run."""

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
        name, encoder, domain, licence: as in the run's description.
        steps, losses: steps of the run, and the loss at each.
    """

    name: str
    encoder: str
    domain: str
    licence: str
    steps: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Story:
    """The content of the page.

    Attributes:
        model: name of the model that gives the answers.
        facts: result of `Perception.describe`.
        scores: scores of the model's heads: (head, score, value with its interval, data on which it was measured).
        seen: images with all answers.
        cloud: points of a pair, or None without a two-view head.
        sheet: features of teachers and students.
        teachers: teachers of the live distillation.
        steps, batch, seconds: steps, batch size and duration of the live distillation, earlier calls included.
        likeness: by student and teacher, the cosine of its prediction to the teacher's tokens on held-out images.
        held_out: number of these images.
        commands: (description of a step, its command).
        took: seconds of the whole demo, those of earlier calls' training included.
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
