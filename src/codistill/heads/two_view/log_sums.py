"""Log-sum-exp of S over its rows and over its columns, from one exponential.

Two calls of `logsumexp` on one matrix read it eight times and store it twice. If a bound of S is known, no maximum is
needed, and one exponential serves both sums and both gradients.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

WIDEST = 80.0
"""Largest distance of a score from the bound for which its exponential is a normal fp32 number."""


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shifted: Tensor) -> tuple[Tensor, Tensor]:
        share = shifted.exp()  # (batch, row, column)
        sums = share.sum(2), share.sum(1)
        ctx.save_for_backward(share, *sums)
        return sums[0].log(), sums[1].log()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, over_columns: Tensor, over_rows: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        share, rows, columns = ctx.saved_tensors
        factors = (over_columns / rows)[:, :, None] + (over_rows / columns)[:, None]
        return factors.mul_(share)


def log_sums(
    first: Float[Tensor, "batch row channel"], second: Float[Tensor, "batch column channel"], bound: float
) -> tuple[Float[Tensor, "batch row"], Float[Tensor, "batch column"]]:
    """log sum_j exp(S_ij) for every row and log sum_i exp(S_ij) for every column of S = first @ second^T, fp32.

    Args:
        bound: no entry of S is larger, and none is more than `WIDEST` smaller; the caller guarantees both.
    """
    start = first.new_full((1, 1, 1), -bound)
    shifted = torch.baddbmm(
        start.expand(len(first), first.shape[1], second.shape[1]), first, second.transpose(1, 2)
    )
    rows, columns = _LogSums.apply(shifted)  # pyright: ignore[reportGeneralTypeIssues]
    return rows + bound, columns + bound
