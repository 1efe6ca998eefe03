"""Collect one teacher's rows from the images of all ranks, for losses that compare images with one another.

Each rank writes its rows into a tensor of zeros at their places in the global batch, and these tensors are summed over
ranks. In the backward pass the gradients are summed in the same way. So every rank has all rows and its share of each
gradient, as if one process had the whole batch.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codistill.engine.objective import StepContext
from codistill.nn.rows import Rows


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, all_reduce_sum: Callable[[Tensor], Tensor]) -> Tensor:  # type: ignore[override]
        ctx.all_reduce_sum = all_reduce_sum
        return all_reduce_sum(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.all_reduce_sum(gradient.contiguous().clone()), None


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Position of a teacher's rows among the images of all ranks, in one part of a step.

    Attributes:
        context: of the step; gives the ranks and the sum over them.
        batch: images of this rank; the same number on every rank.
        rows: the images of this rank that the teacher ran on.
        allowed: (batch,), 1 where the teacher teaches the image, on the device.
    """

    context: StepContext
    batch: int
    rows: Rows
    allowed: Tensor

    @property
    def places(self) -> Tensor:
        """(row,) indices of this rank's rows among the images of all ranks."""
        mine = torch.arange(self.batch, device=self.allowed.device)
        mine = mine if self.rows is None else mine[self.rows]
        return mine + self.context.rank * self.batch

    def taught(self) -> Tensor:
        """(image of all ranks,) whether the teacher teaches the image."""
        places = torch.arange(self.batch, device=self.allowed.device) + self.context.rank * self.batch
        return self._spread(self.allowed[:, None], places)[:, 0] > 0

    def gather(self, x: Tensor) -> Tensor:
        """Collect (row, channel) of each rank into (image of all ranks, channel).

        Images without a row on any rank are 0. Differentiable.
        """
        return self._spread(x, self.places)

    def _spread(self, x: Tensor, places: Tensor) -> Tensor:
        whole = x.new_zeros(self.context.world_size * self.batch, x.shape[1]).index_copy(0, places, x)
        if self.context.world_size == 1:
            return whole
        return _SumOverRanks.apply(whole, self.context.all_reduce_sum)  # type: ignore[return-value]
