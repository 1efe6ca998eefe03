"""The distillation loss: two token sets in, one value per image out.

Per token, in fp32: cosine_weight * (1 - cosine similarity) + smooth_l1_weight * smooth L1 (beta 1, mean over
channels); patch losses are averaged over tokens, then a teacher's token kinds are averaged. Source: DUNE eq. 1
(weights 1 and 1), UNIC (0.5 and 0.5, what the published models were trained with), AM-RADIO (0.9 and 0.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, smooth_l1_loss

from codistill.errors import ConfigError
from codistill.types import TokenKind, Tokens


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the two parts of the loss. Published: 0.5 and 0.5; the paper's equation: 1 and 1."""

    cosine_weight: float = 0.5
    smooth_l1_weight: float = 0.5

    def __post_init__(self) -> None:
        if (
            min(self.cosine_weight, self.smooth_l1_weight) < 0
            or self.cosine_weight + self.smooth_l1_weight == 0
        ):
            raise ConfigError(
                "loss weights must not be negative nor both 0; got "
                f"cosine_weight={self.cosine_weight}, smooth_l1_weight={self.smooth_l1_weight}"
            )


@dataclass(frozen=True)
class TokenLoss:
    """Losses of one teacher and token kind, each (image,), fp32, means over the image's tokens."""

    cosine: Float[Tensor, " image"]
    smooth_l1: Float[Tensor, " image"]

    def total(self, config: LossConfig) -> Float[Tensor, " image"]:
        """The weighted sum of both parts, (image,)."""
        return config.cosine_weight * self.cosine + config.smooth_l1_weight * self.smooth_l1


def token_loss(prediction: Tensor, target: Tensor) -> TokenLoss:
    """Both parts of the loss for tokens (image, channel) or (image, patch, channel).

    Raises:
        ValueError: if the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape"
        )
    prediction, target = prediction.float(), target.float()
    cosine = 1.0 - cosine_similarity(prediction, target, dim=-1, eps=1e-8)
    smooth_l1 = smooth_l1_loss(prediction, target, beta=1.0, reduction="none").mean(-1)
    if prediction.ndim == 3:
        cosine, smooth_l1 = cosine.mean(1), smooth_l1.mean(1)
    return TokenLoss(cosine=cosine, smooth_l1=smooth_l1)


def teacher_losses(
    prediction: Tokens, target: Tokens, kinds: Sequence[TokenKind]
) -> dict[TokenKind, TokenLoss]:
    """`token_loss` for each of a teacher's token kinds."""
    losses = {}
    for kind in kinds:
        predicted, wanted = prediction.of_kind(kind), target.of_kind(kind)
        if predicted is None or wanted is None:
            raise ValueError(
                f"{kind} tokens are missing from the {'student' if predicted is None else 'teacher'}"
            )
        losses[kind] = token_loss(predicted, wanted)
    return losses


def image_loss(losses: dict[TokenKind, TokenLoss], config: LossConfig) -> Float[Tensor, " image"]:
    """One value per image: the mean over token kinds of their totals."""
    totals = [loss.total(config) for loss in losses.values()]
    return torch.stack(totals).mean(0)
