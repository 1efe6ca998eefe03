"""Statistics of a teacher's tokens: they standardize targets and map predictions back.

Buffers hold a mean and a standard deviation per channel and token kind. They are updated during training
(`distill/targets.py`) or set before it (`distill/calibration.py`). Optionally, the channels are rotated between the
subtraction of the mean and the division (PHI-S). The standard deviation is bounded from below in the division and in
its inverse; the buffer itself is not.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from codistill.nn.precision import full_precision
from codistill.types import TokenKind
from codistill.weights.contents import STD_FLOOR


def standardize(
    x: Tensor, mean: Tensor, std: Tensor, floor: float = STD_FLOOR, rotation: Tensor | None = None
) -> Tensor:
    """rotation · (x - mean) / max(std, floor), over the channels (last axis), in fp32; a new tensor."""
    centred = x.float() - mean
    return _rotated(centred, rotation).div_(std.clamp(min=floor))


def denormalize(
    x: Tensor, mean: Tensor, std: Tensor, floor: float = STD_FLOOR, rotation: Tensor | None = None
) -> Tensor:
    """Undo `standardize`: standardized tokens (…, channel) back to the teacher's own space, in fp32."""
    scaled = x.float() * std.clamp(min=floor)
    return _rotated(scaled, None if rotation is None else rotation.T) + mean


def _rotated(x: Tensor, rotation: Tensor | None) -> Tensor:
    """Multiply every token by an orthogonal matrix (channel, channel), in fp32 even under autocast."""
    if rotation is None:
        return x
    with full_precision(x):
        return x @ rotation.T  # tokens are rows


class KindStatistics(nn.Module):
    """Mean and standard deviation (not bounded from below) of one token kind, each (channel,), fp32.

    Args:
        dim: number of channels.
        rotated: also keep a rotation (channel, channel), which is the identity until it is set. The standard deviation
            is then that of the rotated channels.
        floor: lower bound of the deviation, in the division and in its inverse.
    """

    mean: Tensor
    std: Tensor
    rotation: Tensor | None

    def __init__(self, dim: int, rotated: bool = False, floor: float = STD_FLOOR) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("rotation", torch.eye(dim) if rotated else None)

    @torch.no_grad()
    def update(self, mean: Tensor, std: Tensor, momentum: float) -> None:
        """buffer = (1 - momentum) * buffer + momentum * batch; a non-finite batch changes nothing."""
        for buffer, value in ((self.mean, mean), (self.std, std)):
            new = (1.0 - momentum) * buffer + momentum * value
            buffer.copy_(torch.where(torch.isfinite(value), new, buffer))

    def standardize(self, x: Tensor) -> Tensor:
        return standardize(x, self.mean, self.std, self.floor, self.rotation)

    def denormalize(self, x: Tensor) -> Tensor:
        return denormalize(x, self.mean, self.std, self.floor, self.rotation)


class TargetStatistics(nn.ModuleDict):
    """`KindStatistics` of one teacher, by token kind.

    Args:
        dims: number of channels by token kind.
        rotated: kinds whose channels are rotated.
        floor: lower bound of the deviations, in the division and in its inverse.
    """

    def __init__(
        self,
        dims: Mapping[TokenKind, int],
        rotated: tuple[TokenKind, ...] = (),
        floor: float = STD_FLOOR,
    ) -> None:
        super().__init__({kind: KindStatistics(dim, kind in rotated, floor) for kind, dim in dims.items()})

    def by_kind(self) -> Iterator[tuple[TokenKind, KindStatistics]]:
        """Pairs of a token kind and its statistics."""
        yield from self.items()  # type: ignore[misc]

    def of_kind(self, kind: TokenKind) -> KindStatistics:
        """The statistics of one token kind. For a kind that was never a target, those of patches."""
        return self[kind if kind in self else "patch"]  # type: ignore[return-value]
