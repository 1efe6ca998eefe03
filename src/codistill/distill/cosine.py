"""Cosine similarity of pairs of vectors, with a hand-written gradient: vectors in, one value per pair out.

For c = p·t / (|p| |t|), the gradient with respect to p is t / (|p| |t|) - c p / |p|². For it, only p, t and a few
values per pair are stored. Forward and backward together read or write a tensor of the size of p 11 times. PyTorch's
`cosine_similarity` does so 33 times: it stores both normalized vectors and differentiates each operation. As in
PyTorch, norms below `EPS` count as `EPS`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-8


class _Cosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
        norms: list[Tensor] = [torch.linalg.vector_norm(x, dim=-1) for x in (one, other)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        inverse, other_inverse = (1.0 / norm.clamp(min=EPS) for norm in norms)
        value = (one * other).sum(-1) * inverse * other_inverse
        ctx.save_for_backward(one, other, value, inverse, other_inverse)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        one, other, value, inverse, other_inverse = ctx.saved_tensors
        wanted, other_wanted = ctx.needs_input_grad
        across = (gradient * inverse * other_inverse)[..., None]
        along = gradient * value
        return (
            _combined(other, across, one, along, inverse) if wanted else None,
            _combined(one, across, other, along, other_inverse) if other_wanted else None,
        )


def _combined(toward: Tensor, across: Tensor, own: Tensor, along: Tensor, inverse: Tensor) -> Tensor:
    """across · toward - along · own / |own|²; the second part is 0 where the norm is below `EPS`."""
    factor = torch.where(inverse < 1.0 / EPS, along * inverse * inverse, 0.0)[..., None]
    return (across * toward).addcmul_(own, factor, value=-1.0)


def cosine_similarity(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of the angle between vectors (…, channel) of the same shape and dtype: (…,). Differentiable once."""
    return _Cosine.apply(one, other)  # type: ignore[return-value]
