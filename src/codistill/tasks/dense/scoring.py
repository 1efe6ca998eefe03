"""Scoring of tasks with a value for every pixel: images one at a time through a model, each to an outcome."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from codistill.tasks.shared.data import DenseSample
from codistill.tasks.task import Outcome


def one_by_one(
    model: Callable[[np.ndarray], np.ndarray],
    samples: Any,
    outcome: Callable[[DenseSample, np.ndarray], Outcome],
) -> Iterator[Outcome]:
    """Outcomes of all samples, in order.

    Args:
        model: an image (row, column, 3) uint8 to a value for every pixel.
        samples: images with truth.
        outcome: a sample and what was predicted to what is counted.

    Raises:
        DataError: if a sample cannot be used.
    """
    for index in range(len(samples)):
        sample = samples[index]
        yield outcome(sample, model(sample.image))
