"""Teacher dropping: losses per (teacher, image) in, a 0/1 coefficient per (teacher, image) out.

For each image, lowest-loss dropping always keeps the teacher with the largest loss and drops every other teacher with
probability p. Only teachers that data sharing allows take part. Source: UNIC, section 3.3; DUNE uses p = 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DroppingConfig:
    """Teacher dropping.

    Attributes:
        mode: `lowest_loss` (published): for each image, every teacher but the one with the largest loss may be dropped;
            `none`: no teacher is dropped.
        probability: of dropping each of these teachers.
    """

    mode: Literal["lowest_loss", "none"] = "lowest_loss"
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in ("lowest_loss", "none"):
            raise ConfigError(f"dropping mode must be lowest_loss or none; got {self.mode!r}")
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigError(f"dropping probability must be in [0, 1]; got {self.probability}")


def lowest_loss_dropping(
    losses: Float[Tensor, "teacher image"],
    allowed: Float[Tensor, "teacher image"],
    draws: Float[Tensor, "teacher image"],
    probability: float,
) -> Float[Tensor, "teacher image"]:
    """Return coefficients (teacher, image) after dropping. Every image that has a teacher keeps at least one.

    Args:
        losses: per (teacher, image); values where `allowed` is 0 are ignored.
        allowed: 1 where the teacher teaches the image, else 0.
        draws: uniform in [0, 1). A teacher that does not have the largest loss of its image is dropped if its draw is
            below `probability`.
        probability: of dropping a teacher.
    """
    masked = torch.where(allowed > 0, losses.detach(), torch.full_like(losses, -torch.inf))
    worst = torch.zeros_like(allowed).scatter_(0, masked.argmax(0, keepdim=True), 1.0)  # (teacher, image)
    kept = torch.maximum(worst, (draws >= probability).to(allowed.dtype))  # (teacher, image)
    return kept * allowed


def uniform_draws(
    *, seed: int, step: int, slots: Sequence[int], teachers: int
) -> Float[Tensor, "teacher image"]:
    """Draw uniform numbers for some slots of a step's global batch, on the host.

    They depend on (seed, step, slot) alone: neither the number of ranks nor gradient accumulation changes an image's
    draw.
    """
    generator = np.random.default_rng([seed, step])
    draws = generator.random((max(slots) + 1, teachers), dtype=np.float32)  # from slot 0: any part agrees
    return torch.as_tensor(np.ascontiguousarray(draws[list(slots)].T))
