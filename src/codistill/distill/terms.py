"""Loss terms: predicted and wanted tokens in, one value per image out; each a row of `TERMS`, or the user's own.

Sources: cosine and smooth L1: DUNE eq. 1; angles of class tokens: C-RADIOv4 (arXiv 2601.17237); relations between
tokens: `distill/relational.py`.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from codistill.distill.cosine import cosine_similarity
from codistill.distill.neighbours import Neighbours
from codistill.distill.relational import asymmetric_distances, cka_distance, gram_distance
from codistill.files.own_code import own_object
from codistill.types import TokenKind


@dataclass(frozen=True, kw_only=True)
class TermContext:
    """A term's arguments beside the tokens.

    Attributes:
        kind: `cls` or `patch`.
        dispersion: a scalar, the spread of the teacher's class tokens' directions in radians²; None where no term
            compares directions.
        neighbours: how a term reaches the images of other ranks. None (validation): the given images are all there are,
            and all are taught.
    """

    kind: TokenKind
    dispersion: Tensor | None = None
    neighbours: Neighbours | None = None


TermFunction = Callable[[Tensor, Tensor, TermContext], Tensor]
"""Prediction and target, each (image, channel) or (image, patch, channel) in fp32, to (image,)."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A row of `TERMS`.

    Attributes:
        function: see `TermFunction`.
        directions: it compares directions of class tokens: their targets are then divided by their spread and not
            centred, and the context has the dispersion. Not for patches.
        kinds: the token kinds that it is for.
        similarity: held-out tables show 1 - term under this name. Empty: the term itself, under its own.
    """

    function: TermFunction
    directions: bool = False
    similarity: str = ""
    kinds: tuple[TokenKind, ...] = ("cls", "patch")

    def suits(self, kind: TokenKind) -> bool:
        """Whether it is for tokens of a kind."""
        return kind in self.kinds and not (self.directions and kind == "patch")


def cosine(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """1 - cosine similarity, the mean over tokens."""
    return _mean_of_tokens(1.0 - cosine_similarity(prediction, target))


def smooth_l1(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """Smooth L1 (beta 1), the mean over channels."""
    return _mean_of_tokens(smooth_l1_loss(prediction, target, beta=1.0, reduction="none").mean(-1))


def angular(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """The squared angle over the teacher's dispersion.

    The division gives a teacher whose class tokens lie in a narrow cone as much weight as one with wide spread.
    """
    assert context.dispersion is not None
    return squared_angle(prediction, target) / context.dispersion


def squared_angle(prediction: Tensor, target: Tensor) -> Float[Tensor, " image"]:
    """Squared angle in radians² between vectors (image, channel), in fp32.

    By 2 atan2(|u - v|, |u + v|) of the unit vectors (Kahan): exact for small angles, and differentiable at 0, where
    the arc cosine is neither.
    """
    u, v = normalize(prediction.float(), dim=-1), normalize(target.float(), dim=-1)
    angle = 2.0 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))
    return angle.square()


def gram(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """`gram_distance` of an image's patches."""
    return gram_distance(prediction, target)


def cka(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """`cka_distance` of an image's patches."""
    return cka_distance(prediction, target)


def arkd(
    prediction: Tensor, target: Tensor, context: TermContext, *, by_teacher_mean: bool = False
) -> Float[Tensor, " image"]:
    """`asymmetric_distances` of class tokens to those of all ranks' images in this part of the step."""
    near = context.neighbours
    if near is None:
        rows = torch.arange(len(prediction), device=prediction.device)
        taught = torch.ones_like(rows, dtype=torch.bool)
        return asymmetric_distances(prediction, target, taught, rows, by_teacher_mean=by_teacher_mean)
    everyone = (near.gather(prediction), near.gather(target), near.taught(), near.places)
    return asymmetric_distances(*everyone, by_teacher_mean=by_teacher_mean)


def _mean_of_tokens(x: Tensor) -> Tensor:
    return x.mean(1) if x.ndim == 2 else x  # (image[, patch]) to (image,)


TERMS: dict[str, Term] = {
    "cosine": Term(function=cosine, similarity="cosine_similarity"),
    "smooth_l1": Term(function=smooth_l1),
    "angular": Term(function=angular, directions=True, kinds=("cls",)),
    "gram": Term(function=gram, kinds=("patch",)),
    "cka": Term(function=cka, kinds=("patch",)),
    "arkd": Term(function=arkd, kinds=("cls",)),
    "arkd_teacher_mean": Term(function=partial(arkd, by_teacher_mean=True), kinds=("cls",)),
}
"""Every term that ships with codistill."""


def find_term(name: str) -> Term:
    """A row of `TERMS`, or the function or `Term` of `file.py:NAME`; ConfigError if the file has none."""
    if name in TERMS:
        return TERMS[name]
    found = own_object(name, "loss term", _fits)
    return found if isinstance(found, Term) else Term(function=found)


def _fits(found: object) -> bool:
    return isinstance(found, Term) or (callable(found) and not isinstance(found, type))
