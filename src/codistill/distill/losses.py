"""The distillation loss: two token sets in, one value per image out.

Per token, in fp32: cosine_weight * (1 - cosine similarity) + smooth_l1_weight * smooth L1 (beta 1, mean over
channels); patch losses are averaged over tokens, then a teacher's token kinds are averaged. Class tokens may have a
loss of their own: the cosine part alone, or the squared angle over the teacher's own spread of angles.
Sources: DUNE eq. 1 (weights 1 and 1), UNIC (0.5 and 0.5, what the published models were trained with), AM-RADIO (0.9
and 0.1, class tokens by cosine), C-RADIOv4 (class tokens by angle, arXiv 2601.17237).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize, smooth_l1_loss

from codistill.errors import ConfigError, unknown_name
from codistill.types import TokenKind, Tokens

SUMMARIES = ("token", "cosine", "angular")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the two parts of the loss, and what class tokens are compared by.

    Attributes:
        cosine_weight, smooth_l1_weight: published: 0.5 and 0.5; the paper's equation: 1 and 1.
        summary: for class tokens: `token`, the same as for patches (published); `cosine`, that part alone;
            `angular`, the squared angle over the teacher's dispersion, which keeps a teacher whose class tokens lie
            in a narrow cone from counting less than one whose lie all around. Class targets then stay unstandardized.
    """

    cosine_weight: float = 0.5
    smooth_l1_weight: float = 0.5
    summary: Literal["token", "cosine", "angular"] = "token"

    def __post_init__(self) -> None:
        if (
            min(self.cosine_weight, self.smooth_l1_weight) < 0
            or self.cosine_weight + self.smooth_l1_weight == 0
        ):
            raise ConfigError(
                "loss weights must not be negative nor both 0; got "
                f"cosine_weight={self.cosine_weight}, smooth_l1_weight={self.smooth_l1_weight}"
            )
        if self.summary not in SUMMARIES:
            raise ConfigError(unknown_name("summary loss", str(self.summary), SUMMARIES))


@dataclass(frozen=True)
class TokenLoss:
    """Losses of one teacher and token kind, each (image,), fp32, means over the image's tokens.

    Attributes:
        cosine, smooth_l1: the two parts.
        special: for class tokens with a loss of their own, that loss; it is then the total.
    """

    cosine: Float[Tensor, " image"]
    smooth_l1: Float[Tensor, " image"]
    special: Float[Tensor, " image"] | None = None

    def total(self, config: LossConfig) -> Float[Tensor, " image"]:
        """The weighted sum of both parts, or the special loss, (image,)."""
        if self.special is not None:
            return self.special
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


def squared_angle(prediction: Tensor, target: Tensor) -> Float[Tensor, " image"]:
    """Squared angle in radians² between vectors (image, channel), in fp32.

    By 2 atan2(|u - v|, |u + v|) of the unit vectors (Kahan): exact for small angles, and differentiable at 0, where
    the arc cosine is neither.
    """
    u, v = normalize(prediction.float(), dim=-1), normalize(target.float(), dim=-1)
    angle = 2.0 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))
    return angle.square()


def teacher_losses(
    prediction: Tokens,
    target: Tokens,
    kinds: Sequence[TokenKind],
    config: LossConfig,
    dispersion: Tensor | None = None,
) -> dict[TokenKind, TokenLoss]:
    """`token_loss` for each of a teacher's token kinds, and the special loss of its class tokens where one is set.

    Args:
        prediction, target: of one teacher.
        kinds: its token kinds.
        config: see `LossConfig`.
        dispersion: a scalar, the spread of its class tokens' directions in radians²; only `angular` needs it.

    Raises:
        ValueError: if one side lacks the tokens.
    """
    losses: dict[TokenKind, TokenLoss] = {}
    for kind in kinds:
        predicted, wanted = prediction.of_kind(kind), target.of_kind(kind)
        if predicted is None or wanted is None:
            raise ValueError(
                f"{kind} tokens are missing from the {'student' if predicted is None else 'teacher'}"
            )
        parts, special = token_loss(predicted, wanted), None
        if kind == "cls" and config.summary == "cosine":
            special = parts.cosine
        elif kind == "cls" and config.summary == "angular":
            assert dispersion is not None
            special = squared_angle(predicted, wanted) / dispersion
        losses[kind] = TokenLoss(parts.cosine, parts.smooth_l1, special)
    return losses


def image_loss(losses: Mapping[TokenKind, TokenLoss], config: LossConfig) -> Float[Tensor, " image"]:
    """One value per image: the mean over token kinds of their totals."""
    totals = [loss.total(config) for loss in losses.values()]
    return torch.stack(totals).mean(0)
