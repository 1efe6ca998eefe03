"""The distillation loss: predicted and target tokens in, one value per image out.

The loss of a token kind (class tokens or patches) is a weighted sum of terms (`distill/terms.py`), computed in fp32. A
term of patches is the mean over tokens. A teacher's loss is the mean over its token kinds. Sources: DUNE eq. 1 (cosine
and smooth L1, weights 1 and 1), UNIC (0.5 and 0.5, as in the published models), AM-RADIO (0.9 and 0.1, class tokens by
cosine), C-RADIOv4 (class tokens by angle, arXiv 2601.17237).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.distill.neighbours import Neighbours
from codistill.distill.terms import TERMS, Term, TermContext, find_term
from codistill.errors import ConfigError, unknown_name
from codistill.files.own_code import is_own, own_name
from codistill.types import TokenKind, Tokens


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the loss's terms.

    Attributes:
        weights: weight of each term, by its name in `TERMS` or `file.py:NAME`. A term of weight 0 is only logged.
            Published: 0.5 and 0.5; the paper's equation: 1 and 1.
        summary: the same for class tokens. None: class tokens use those terms of `weights` that also suit class tokens
            (published).
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"cosine": 0.5, "smooth_l1": 0.5})
    summary: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _check_weights("weights", self.weights)
        if self.summary is not None:
            _check_weights("summary", self.summary)
        for kind in ("cls", "patch"):
            for name in self.named(kind):
                if name in TERMS and not TERMS[name].suits(kind):
                    raise _unsuited(name, kind)

    def named(self, kind: TokenKind) -> Mapping[str, float]:
        """Weights that the config names for a token kind: `weights` for patches, `summary` for class tokens."""
        return self.weights if kind == "patch" else self.summary or {}

    def of_kind(self, kind: TokenKind) -> Mapping[str, float]:
        """Weights of the terms of a token kind, the user's own terms included, which may turn out not to suit it."""
        if kind == "patch" or self.summary is not None:
            return self.named(kind)
        return {n: weight for n, weight in self.weights.items() if n not in TERMS or TERMS[n].suits(kind)}


def _check_weights(where: str, weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if name not in TERMS and not is_own(name):
            raise ConfigError(
                f"{unknown_name(f'loss term in {where}', name, TERMS)} file.py:NAME of a function will do as well."
            )
        if not 0.0 <= weight < math.inf:
            raise ConfigError(
                f"{where}: the weight of {name} is {weight}; it must be finite, and not negative."
            )
    if sum(weights.values()) == 0:
        raise ConfigError(f"{where}: all weights are 0, which trains nothing; got {dict(weights)}")
    names = [own_name(name) for name in weights]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: two terms would be logged as {name}; give one of them another name")


def _unsuited(name: str, kind: TokenKind) -> ConfigError:
    if kind == "patch":
        return ConfigError(
            f"{name} compares class tokens, and weights are those of patches too. Name it in summary."
        )
    return ConfigError(
        f"{name} compares the patches of an image, and summary is for class tokens. Name it in weights."
    )


@dataclass(frozen=True)
class WeightedTerm:
    """A term of the loss, the name under which it is logged, and its weight."""

    name: str
    term: Term
    weight: float


@dataclass(frozen=True)
class TokenLoss:
    """Losses of one teacher and token kind, each (image,), fp32.

    Attributes:
        terms: the unweighted terms, by the names under which they are logged.
        total: their weighted sum.
    """

    terms: Mapping[str, Float[Tensor, " image"]]
    total: Float[Tensor, " image"]


class DistillationLoss:
    """The loss that a `LossConfig` describes, with its terms looked up.

    Attributes:
        terms: the terms of each token kind.
        directions: whether a term compares directions of class tokens; class targets are then not centred.

    Raises:
        ConfigError: if a user's own term cannot be loaded.
    """

    def __init__(self, config: LossConfig) -> None:
        kinds: tuple[TokenKind, ...] = ("cls", "patch")
        self.terms: dict[TokenKind, tuple[WeightedTerm, ...]] = {}
        for kind in kinds:
            found = [
                WeightedTerm(own_name(name), find_term(name), weight)
                for name, weight in config.of_kind(kind).items()
            ]
            for weighted in found:  # a user's own terms are loaded only here
                if not weighted.term.suits(kind) and (kind == "patch" or config.summary is not None):
                    raise _unsuited(weighted.name, kind)
            self.terms[kind] = tuple(weighted for weighted in found if weighted.term.suits(kind))
        self.directions = any(weighted.term.directions for weighted in self.terms["cls"])

    def require(self, kinds: Iterable[TokenKind]) -> None:
        """Check that each token kind has a loss.

        Raises:
            ConfigError: if a kind has no term of positive weight.
        """
        for kind in kinds:
            if not any(weighted.weight for weighted in self.terms[kind]):
                raise ConfigError(
                    "no term of distill.loss.weights is for class tokens, and teachers have some. Add cosine or "
                    "smooth_l1 there, name terms of class tokens in distill.loss.summary, or teach patches alone "
                    "(kinds=patch)."
                )

    def of_tokens(self, prediction: Tensor, target: Tensor, context: TermContext) -> TokenLoss:
        """Compute the loss of tokens (image, channel) or (image, patch, channel).

        Raises:
            ValueError: if the shapes differ, or a term returns another shape than (image,).
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape"
            )
        prediction, target = prediction.float(), target.float()  # bf16 has too few digits for a loss
        values: dict[str, Tensor] = {}
        total: Tensor | None = None
        for weighted in self.terms[context.kind]:
            value = weighted.term.function(prediction, target, context)  # (image,)
            if value.shape != prediction.shape[:1]:
                raise ValueError(
                    f"loss term {weighted.name} gave the shape {tuple(value.shape)}; it must give one value per "
                    f"image, {tuple(prediction.shape[:1])}"
                )
            values[weighted.name] = value
            if weighted.weight:  # no gradient through terms that are only logged
                part = weighted.weight * value
                total = part if total is None else total + part
        assert total is not None
        return TokenLoss(values, total)

    def of_teacher(
        self,
        prediction: Tokens,
        target: Tokens,
        kinds: Sequence[TokenKind],
        dispersion: Tensor | None = None,
        neighbours: Neighbours | None = None,
    ) -> dict[TokenKind, TokenLoss]:
        """Compute the loss of each of a teacher's token kinds; `dispersion` and `neighbours` as in `TermContext`.

        Raises:
            ValueError: if the student or the teacher lacks such tokens.
        """
        losses: dict[TokenKind, TokenLoss] = {}
        for kind in kinds:
            predicted, wanted = prediction.of_kind(kind), target.of_kind(kind)
            if predicted is None or wanted is None:
                raise ValueError(
                    f"{kind} tokens are missing from the {'student' if predicted is None else 'teacher'}"
                )
            spread = dispersion if kind == "cls" else None
            context = TermContext(kind=kind, dispersion=spread, neighbours=neighbours)
            losses[kind] = self.of_tokens(predicted, wanted, context)
        return losses


def image_loss(losses: Mapping[TokenKind, TokenLoss]) -> Float[Tensor, " image"]:
    """One value per image: the mean of the totals over token kinds."""
    return torch.stack([loss.total for loss in losses.values()]).mean(0)  # (image,)
