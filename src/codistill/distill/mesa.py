"""MESA on features (C-RADIOv4): the student agrees on one view with its moving average (EMA) on another view.

Both sides are the encoder's last tokens before the final norm, standardized over their channels without learned
parameters. The loss is the mean squared difference over channels and the positions that both views cover. It equals
2 (1 - ρ), where ρ is the correlation of the two tokens over their channels. No teacher takes part, so the loss covers
all images.
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
    """Agreement of the student with its moving average (needs `student.ema`).

    Attributes:
        weight: of this loss, added to the teachers' loss; 0: off.
        start: share of the steps after which the loss is switched on.
    """

    weight: float = 0.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < math.inf:
            raise ConfigError(f"distill.mesa.weight must be finite, and not negative; got {self.weight}")
        if not 0.0 <= self.start < 1.0:
            raise ConfigError(f"distill.mesa.start must be in [0, 1), a share of the steps; got {self.start}")

    def acts(self, step: int, total_steps: int) -> bool:
        """Whether the loss is used at a 0-based step."""
        return self.weight > 0 and step >= self.start * total_steps


def mesa(own: Tokens, average: Tokens, shift: Shift = (0, 0)) -> Float[Tensor, " image"]:
    """Compute the loss of each image.

    Args:
        own: the student's tokens before the final norm; gradients pass through.
        average: the moving average's tokens, on a window `shift` tokens below and right of the student's.
        shift: (rows, columns) in tokens.
    """
    own, average = align(own, average.detach(), shift)
    ours, theirs = (layer_norm(x.patches.float(), x.patches.shape[-1:], eps=_EPS) for x in (own, average))
    return (ours - theirs).square().mean((1, 2))
