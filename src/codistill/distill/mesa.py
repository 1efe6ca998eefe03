"""MESA on features: the student agrees with the moving average of its own weights on another view (C-RADIOv4).

Both encoders' last tokens, before the final norm, are standardized over their channels without learned parameters; the
loss is the mean squared difference, over channels and the positions that both see: 2 (1 - ρ), with ρ the correlation
of the two tokens over their channels. No teacher takes part, so it covers all images.
Source: arXiv 2601.17237; sharpness-aware training by the weights' own trajectory, arXiv 2205.14083. Weight, start,
decay and the place in the network were not published.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

from codistill.distill.alignment import align
from codistill.errors import ConfigError
from codistill.teachers.views import Shift
from codistill.types import Tokens

_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class MesaConfig:
    """Agreement with the moving average (needs `student.ema`).

    Attributes:
        weight: of the loss, beside that of the teachers; 0: none.
        start: share of the steps before which it does not act.
    """

    weight: float = 0.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < math.inf:
            raise ConfigError(f"distill.mesa.weight must be finite, and not negative; got {self.weight}")
        if not 0.0 <= self.start < 1.0:
            raise ConfigError(f"distill.mesa.start must be in [0, 1), a share of the steps; got {self.start}")

    def acts(self, step: int, total_steps: int) -> bool:
        """Whether it acts at a 0-based step."""
        return self.weight > 0 and step >= self.start * total_steps


def mesa(own: Tokens, average: Tokens, shift: Shift = (0, 0)) -> Float[Tensor, " image"]:
    """The loss of each image.

    Args:
        own: un-normed tokens of the student; gradients pass through.
        average: those of its average, on a window `shift` tokens below and right of the student's.
    """
    own, average = align(own, average.detach(), shift)
    ours, theirs = (layer_norm(x.patches.float(), x.patches.shape[-1:], eps=_EPS) for x in (own, average))
    return (ours - theirs).square().mean((1, 2))
