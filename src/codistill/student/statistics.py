"""Per-channel statistics of a teacher's tokens: standardize targets with them, turn projections back.

Buffers hold a running mean and standard deviation per token kind, updated while training (`distill/targets.py`).
In evaluation the standard deviation is clamped from below, for the division only.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from codistill.types import TokenKind

STD_FLOOR = 1e-3


def standardize(x: Tensor, mean: Tensor, std: Tensor, floor: float = STD_FLOOR) -> Tensor:
    """(x - mean) / max(std, floor), per channel (last axis), in fp32."""
    return (x.float() - mean) / std.clamp(min=floor)


def denormalize(x: Tensor, mean: Tensor, std: Tensor, floor: float = STD_FLOOR) -> Tensor:
    """The inverse of `standardize`: standardized tokens back to the teacher's own space, in fp32."""
    return x.float() * std.clamp(min=floor) + mean


class KindStatistics(nn.Module):
    """Running mean and (unclamped) standard deviation of one token kind, each (channel,), fp32."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @torch.no_grad()
    def update(self, mean: Tensor, std: Tensor, momentum: float) -> None:
        """buffer = (1 - momentum) * buffer + momentum * batch; a non-finite batch changes nothing."""
        for buffer, value in ((self.mean, mean), (self.std, std)):
            new = (1.0 - momentum) * buffer + momentum * value
            buffer.copy_(torch.where(torch.isfinite(value), new, buffer))


class TargetStatistics(nn.ModuleDict):
    """`KindStatistics` by token kind, of one teacher."""

    def __init__(self, dims: Mapping[TokenKind, int]) -> None:
        super().__init__({kind: KindStatistics(dim) for kind, dim in dims.items()})

    def by_kind(self) -> Iterator[tuple[TokenKind, KindStatistics]]:
        """Token kinds with their statistics."""
        yield from self.items()  # type: ignore[misc]

    def of_kind(self, kind: TokenKind) -> KindStatistics:
        """The statistics of one token kind; patch statistics stand in for a kind that was never a target."""
        return self[kind if kind in self else "patch"]  # type: ignore[return-value]
