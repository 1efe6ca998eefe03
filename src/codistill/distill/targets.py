"""Target standardization: raw teacher tokens in, tokens with zero mean and unit deviation per channel out.

In training the statistics are those of the current global batch (all ranks, images and tokens), and running
buffers follow with a momentum; in evaluation the buffers are used. Ranks exchange counts, sums and squared sums
only: a few kilobytes for all teachers together, where gathering the tokens would take gigabytes. The local
moments are taken by a two-pass mean and variance and combined in fp64, so nothing cancels where a channel's mean
is much larger than its deviation. Source: UNIC, DUNE; fp64 combination: Chan et al. 1979.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.student.statistics import STD_FLOOR, KindStatistics, TargetStatistics, standardize
from codistill.types import TokenKind, Tokens

Moments = Tensor
"""(2, channel) fp64 and a count, flattened: count, count * mean, squared sum."""


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """How targets are standardized.

    Attributes:
        statistics: `batch` (published DUNE), or `running` (UNIC: the buffers, after their update).
        momentum_start, momentum_end: the buffers' momentum follows a cosine between these.
        std_floor: lower bound of the deviation, for the division only.
    """

    statistics: Literal["batch", "running"] = "batch"
    momentum_start: float = 1.0
    momentum_end: float = 0.001
    std_floor: float = STD_FLOOR

    def __post_init__(self) -> None:
        if self.statistics not in ("batch", "running"):
            raise ConfigError(f"target statistics must be batch or running; got {self.statistics!r}")
        if not (0.0 <= self.momentum_end <= 1.0 and 0.0 <= self.momentum_start <= 1.0):
            raise ConfigError("target momenta must be in [0, 1]")
        if self.std_floor <= 0:
            raise ConfigError(f"std_floor must be positive; got {self.std_floor}")


def local_moments(x: Tensor, counted: bool) -> Moments:
    """Count, sum and squared sum per channel of (…, channel), as one fp64 vector of 1 + 2 * channel.

    Args:
        x: tokens of this rank.
        counted: False for rows that only stand in: they weigh nothing.
    """
    channels = x.shape[-1]
    if not counted:
        return torch.zeros(1 + 2 * channels, dtype=torch.float64, device=x.device)
    flat = x.float().reshape(-1, channels)
    count = flat.shape[0]
    variance, mean = torch.var_mean(flat, dim=0, correction=0)
    mean, variance = mean.double(), variance.double()
    total = torch.full((1,), float(count), dtype=torch.float64, device=x.device)
    return torch.cat((total, count * mean, count * (variance + mean * mean)))


def mean_and_std(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and unbiased deviation (channel,), fp32, of summed `Moments`."""
    count, sums = moments[0], moments[1:].view(2, -1)
    mean = sums[0] / count
    variance = (sums[1] - count * mean * mean) / (count - 1)
    return count, mean.float(), variance.clamp(min=0).sqrt().float()


class TargetStandardizer:
    """Standardizes a batch's targets and keeps the running statistics.

    Args:
        config: see `TargetConfig`.
        statistics: per teacher, the buffers (they live in the student, and are saved with it).
    """

    def __init__(self, config: TargetConfig, statistics: nn.ModuleDict) -> None:
        self.config = config
        self.statistics = statistics

    def _buffers(self, teacher: str) -> TargetStatistics:
        return self.statistics[teacher]  # type: ignore[return-value]

    @torch.no_grad()
    def batch(
        self,
        raw: Mapping[str, Tokens],
        counts: Mapping[str, int],
        momentum: float,
        all_reduce_sum: Callable[[Tensor], Tensor],
    ) -> dict[str, Tokens]:
        """Training: standardize by the global batch's statistics and update the buffers. One collective.

        Args:
            raw: per teacher, tokens of this rank's rows.
            counts: per teacher, how many rows count (0: the rows only stand in).
            momentum: of the buffers; 0 uses them as they are.
            all_reduce_sum: sums a tensor over ranks.
        """
        if momentum == 0.0:
            return self.running(raw)
        slots: list[tuple[str, TokenKind, KindStatistics, Tensor]] = []
        for teacher, tokens in raw.items():
            for kind, buffers in self._buffers(teacher).by_kind():
                x = tokens.of_kind(kind)  # type: ignore[arg-type]
                if x is None:
                    raise ValueError(f"teacher {teacher!r} gave no {kind} tokens")
                slots.append((teacher, kind, buffers, local_moments(x, counts[teacher] > 0)))  # type: ignore[arg-type]
        packed = all_reduce_sum(torch.cat([moments for *_, moments in slots]))
        scales: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        sizes = [moments.numel() for *_, moments in slots]
        for (teacher, kind, buffers, _), moments in zip(slots, packed.split(sizes), strict=True):
            scales[teacher, kind] = self._follow(buffers, moments, momentum)
        return {teacher: self._apply(tokens, teacher, scales) for teacher, tokens in raw.items()}

    def _follow(self, buffers: KindStatistics, moments: Moments, momentum: float) -> tuple[Tensor, Tensor]:
        """Update the buffers from summed moments; the mean and deviation to standardize with."""
        count, mean, std = mean_and_std(moments)
        enough = count > 1
        mean, std = torch.where(enough, mean, buffers.mean), torch.where(enough, std, buffers.std)
        buffers.update(mean, std, momentum)
        if self.config.statistics == "running":
            return buffers.mean.clone(), buffers.std.clone()
        return mean, std

    @torch.no_grad()
    def running(self, raw: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """Evaluation: standardize by the buffers."""
        scales = {
            (teacher, kind): (buffers.mean, buffers.std)
            for teacher in raw
            for kind, buffers in self._buffers(teacher).by_kind()
        }
        return {teacher: self._apply(tokens, teacher, scales) for teacher, tokens in raw.items()}

    def _apply(
        self, tokens: Tokens, teacher: str, scales: Mapping[tuple[str, str], tuple[Tensor, Tensor]]
    ) -> Tokens:
        def scaled(kind: TokenKind) -> Tensor | None:
            x = tokens.of_kind(kind)
            if x is None or (teacher, kind) not in scales:
                return None
            return standardize(x, *scales[teacher, kind], floor=self.config.std_floor)

        patches = scaled("patch")
        if patches is None:
            patches = tokens.patches[:, :0].float()
        return Tokens(patches=patches, grid=tokens.grid, cls=scaled("cls"), normed=True)
