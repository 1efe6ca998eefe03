"""The linear head for surface normals: from a map of frozen features to four scores per token, and to vectors.

A 1x1 convolution gives the three components of the normal and one channel for the concentration. The caller resizes
scores bilinearly to the image, like logits of classes; then `normals_of_scores` computes unit vectors and
concentrations. Vectors: x right, y down, z forward, towards the camera.

Source: the fourth channel, its activation and the loss are those of angular von Mises-Fisher distributions (Bae et al.,
ICCV 2021, arXiv 2109.09881), as Probe3D (arXiv 2404.08636) uses for its probes; that the head is linear is our choice.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import elu, normalize, softplus

from codistill.errors import ConfigError
from codistill.heads.linear.losses import masked_mean
from codistill.metrics.normals import angles, known_normals
from codistill.nn.precision import full_precision

SCORES = 4
"""Three numbers for the direction, one for the concentration."""
_LEAST = 1.01  # elu is above -1, so the concentration is at least 0.01


@dataclass(frozen=True, kw_only=True)
class NormalsHeadConfig:
    """Architecture of a `NormalsHead`.

    Attributes:
        channels: channels of the feature map: token width times the number of levels.
    """

    channels: int

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"a head for normals needs channels >= 1; got {self.channels}")


class NormalsHead(nn.Module):
    """The normals head of the module's text. It computes in fp32 under any autocast."""

    def __init__(self, config: NormalsHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_normals = nn.Conv2d(config.channels, SCORES, kernel_size=1)

    def forward(
        self, features: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch 4 row column"]:
        """Scores per token; see `normals_of_scores`."""
        with full_precision(features):
            return self.conv_normals(features.float())


def normals_of_scores(
    scores: Float[Tensor, "*pixels 4"],
) -> tuple[Float[Tensor, "*pixels 3"], Float[Tensor, "*pixels"]]:
    """Unit vectors, and their concentrations (elu + 1.01: 0.01 and more)."""
    return normalize(scores[..., :3], dim=-1, eps=1e-6), elu(scores[..., 3]) + _LEAST


def normals_loss(
    scores: Float[Tensor, "*pixels 4"], truth: Float[Tensor, "*pixels 3"], dim: tuple[int, ...] | None = None
) -> Tensor:
    """Mean of log(1 + exp(-pi kappa)) - log(1 + kappa^2) + kappa theta over pixels whose normal is known.

    This is the negative log density of the true normal at an angle theta from the predicted direction, up to a
    constant; 0 if no pixel is known.

    Args:
        scores: at the pixels.
        truth: unit vectors, (0, 0, 0) where unknown.
        dim: axes of the pixels to reduce; None: all. The other axes keep separate losses.
    """
    known = known_normals(truth)
    normal, kappa = normals_of_scores(scores.float())
    # Unknown normals are replaced first: the angle to (0, 0, 0) has a NaN gradient, which a mask would not remove.
    theta = angles(normal, torch.where(known[..., None], truth.float(), truth.new_tensor((0.0, 0.0, -1.0))))
    losses = softplus(-math.pi * kappa) - torch.log1p(kappa.square()) + kappa * theta
    return masked_mean(losses, known.expand_as(losses), dim)
