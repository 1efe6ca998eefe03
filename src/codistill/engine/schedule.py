"""Values per step: for learning rates, for the momentum of target statistics, and for fitting heads.

* A linear warm-up followed by a cosine (learning rate), or the cosine alone (momentum of target statistics).
* A curve over the whole run whose start is ramped up (heads fitted by the protocols of mmsegmentation's family).

Step i (0-based) uses the i-th value. Source: the DUNE training schedule; its numbers are in the golden
`schedules.json`.
"""

import math
from typing import Literal

from codistill.errors import ConfigError

Schedule = Literal["warmup_cosine", "ramped_cosine", "ramped_linear"]


def warmup_cosine(base: float, final: float, total_steps: int, warmup_fraction: float = 0.0) -> list[float]:
    """One value per step: `warmup_fraction` of the steps rise linearly from 0, the others fall as a cosine.

    Args:
        base: peak value, reached at the last warm-up step and held at the first cosine step.
        final: value that the cosine approaches (the step after the last one would reach it).
        total_steps: number of values.
        warmup_fraction: in [0, 1]; floor(warmup_fraction * total_steps) steps warm up. If there is only one, its value
            is 0.

    Raises:
        ConfigError: for no steps, or a fraction outside [0, 1].
    """
    if total_steps < 1:
        raise ConfigError(f"total_steps is {total_steps}; a schedule needs at least 1 step.")
    if not 0.0 <= warmup_fraction <= 1.0:
        raise ConfigError(f"warmup_fraction is {warmup_fraction}; it must lie between 0 and 1.")
    warmup_steps = math.floor(warmup_fraction * total_steps)
    cosine_steps = total_steps - warmup_steps
    rising = [base * step / (warmup_steps - 1) if step else 0.0 for step in range(warmup_steps)]
    falling = [
        final + 0.5 * (base - final) * (1.0 + math.cos(math.pi * step / cosine_steps))
        for step in range(cosine_steps)
    ]
    return rising + falling


def cosine(base: float, final: float, total_steps: int) -> list[float]:
    """One value per step, from `base` along a cosine towards `final`, without warm-up."""
    return warmup_cosine(base, final, total_steps)


def ramped(
    curve: Literal["cosine", "linear"],
    base: float,
    final: float,
    total_steps: int,
    warmup_fraction: float = 0.0,
    start: float = 0.0,
) -> list[float]:
    """One value per step: a curve from `base` to `final` over the whole run, multiplied by a ramp during warm-up.

    Args:
        curve: `linear` (mmcv's `poly` of power 1) or `cosine`.
        base, final: value at which the curve starts, and value that it approaches.
        total_steps: number of values.
        warmup_fraction: in [0, 1]; that share of the steps (W of them) is multiplied by 1 - (1 - i/W) (1 - start).
        start: factor of the first step.

    Raises:
        ConfigError: for no steps, or a fraction outside [0, 1].
    """
    warmup_cosine(base, final, total_steps, warmup_fraction)  # the same conditions
    warmup_steps = math.floor(warmup_fraction * total_steps)
    done = [step / total_steps for step in range(total_steps)]
    left = [0.5 * (1.0 + math.cos(math.pi * x)) if curve == "cosine" else 1.0 - x for x in done]
    values = [final + (base - final) * x for x in left]
    for step in range(warmup_steps):
        values[step] *= 1.0 - (1.0 - step / warmup_steps) * (1.0 - start)
    return values
