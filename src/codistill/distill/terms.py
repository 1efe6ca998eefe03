"""Loss terms: predicted and target tokens in, one value per image out. Each is a row of `TERMS`, or the user's own.

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
    """Arguments of a term beside the tokens.

    Attributes:
        kind: `cls` or `patch`.
        dispersion: a scalar, the squared spread of directions of the teacher's class tokens, in radians²; None if no
            term compares directions.
        neighbours: gives a term access to the images of other ranks. None (validation): the given images are all there
            are, and the teacher teaches all of them.
    """

    kind: TokenKind
    dispersion: Tensor | None = None
    neighbours: Neighbours | None = None


TermFunction = Callable[[Tensor, Tensor, TermContext], Tensor]
"""Maps prediction and target, each (image, channel) or (image, patch, channel) in fp32, to (image,)."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A row of `TERMS`.

    Attributes:
        function: see `TermFunction`.
        directions: whether the term compares directions of class tokens. Their targets are then divided by their spread
            and not centred, and the context contains the dispersion. Not for patches.
        kinds: the token kinds that the term is for.
        similarity: name under which held-out tables show 1 - term. Empty: they show the term itself under its own name.
    """

    function: TermFunction
    directions: bool = False
    similarity: str = ""
    kinds: tuple[TokenKind, ...] = ("cls", "patch")

    def suits(self, kind: TokenKind) -> bool:
        """Whether the term can be used for tokens of a kind."""
        return kind in self.kinds and not (self.directions and kind == "patch")


def cosine(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """1 - cosine similarity, averaged over tokens."""
    return _mean_of_tokens(1.0 - cosine_similarity(prediction, target))


def smooth_l1(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """Smooth L1 (beta 1), averaged over channels and tokens."""
    return _mean_of_tokens(smooth_l1_loss(prediction, target, beta=1.0, reduction="none").mean(-1))


def angular(prediction: Tensor, target: Tensor, context: TermContext) -> Float[Tensor, " image"]:
    """Squared angle divided by the teacher's dispersion.

    The division gives a teacher whose class tokens lie in a narrow cone as much weight as one whose tokens spread
    widely.
    """
    assert context.dispersion is not None
    return squared_angle(prediction, target) / context.dispersion


def squared_angle(prediction: Tensor, target: Tensor) -> Float[Tensor, " image"]:
    """Squared angle in radians² between vectors (image, channel), in fp32.

    Computed from the unit vectors as 2 atan2(|u - v|, |u + v|) (Kahan): exact for small angles and differentiable at 0,
    where the arc cosine is neither.
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
    """`asymmetric_distances` between class tokens of the images of all ranks, in this part of the step."""
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
"""All loss terms of codistill."""


def find_term(name: str) -> Term:
    """Return a row of `TERMS`, or the function or `Term` of `file.py:NAME`; ConfigError if the file has none."""
    if name in TERMS:
        return TERMS[name]
    found = own_object(name, "loss term", _fits)
    return found if isinstance(found, Term) else Term(function=found)


def _fits(found: object) -> bool:
    return isinstance(found, Term) or (callable(found) and not isinstance(found, type))
