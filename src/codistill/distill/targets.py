"""Target standardization: raw teacher tokens in, tokens with zero mean and unit deviation per channel out.

In training, the statistics are those of the current global batch (all ranks, images, tokens and accumulated parts).
Running buffers follow them with a momentum, and evaluation uses the buffers. Ranks exchange only counts, sums and
squared sums: a few kilobytes, where gathering the tokens would take gigabytes. Local moments come from a two-pass mean
and variance and are combined in fp64, so nothing cancels where a channel's mean is much larger than its deviation (Chan
et al. 1979).

Options: statistics fixed before training (EUPE) and channels rotated to equal variance (PHI-S), both set by
`distill/calibration.py`; class tokens divided by their spread only, for the angular loss. Source: UNIC, DUNE.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from codistill.errors import ConfigError
from codistill.nn.moments import channel_sums
from codistill.student.statistics import STD_FLOOR, KindStatistics, TargetStatistics, standardize
from codistill.types import TokenKind, Tokens

Moments = Tensor
"""One flat fp64 vector of 1 + 2 * channel: the count, then count * mean and the squared sum of each channel."""
Scales = dict[tuple[str, TokenKind], tuple[Tensor, Tensor]]
"""Mean and deviation, each (channel,), by teacher and token kind."""

SPREAD_FLOOR = 0.05
"""Smallest spread of directions, in radians, that the angular loss divides by."""
STATISTICS = ("batch", "running", "fixed")
TRANSFORMS = ("channels", "phi_s")


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """How targets are standardized.

    Attributes:
        statistics: `batch` uses the statistics of the current batch (published DUNE); `running` those of the buffers,
            after their update (UNIC); `fixed` estimates them on the first `estimate_steps` training batches, before
            training starts, and keeps them (EUPE).
        transform: `channels` standardizes each channel by itself. `phi_s` (needs `fixed`) rotates the channels so
            that all have the same variance and divides all by one number: a teacher's weak directions stay weak.
        estimate_steps: number of training batches on which fixed statistics are estimated.
        momentum_start, momentum_end: the buffers' momentum follows a cosine from the first value to the second.
        std_floor: lower bound of the deviation, where targets are divided by it and where the student undoes that.
    """

    statistics: Literal["batch", "running", "fixed"] = "batch"
    transform: Literal["channels", "phi_s"] = "channels"
    estimate_steps: int = 500
    momentum_start: float = 1.0
    momentum_end: float = 0.001
    std_floor: float = STD_FLOOR

    def __post_init__(self) -> None:
        if self.statistics not in STATISTICS:
            raise ConfigError(f"target statistics must be batch, running or fixed; got {self.statistics!r}")
        if self.transform not in TRANSFORMS:
            raise ConfigError(f"target transform must be channels or phi_s; got {self.transform!r}")
        if self.transform == "phi_s" and self.statistics != "fixed":
            raise ConfigError(
                f"target transform phi_s needs statistics = fixed (a rotation cannot change during training); got "
                f"statistics = {self.statistics}"
            )
        if self.estimate_steps < 1:
            raise ConfigError(f"estimate_steps must be positive; got {self.estimate_steps}")
        if not (0.0 <= self.momentum_end <= 1.0 and 0.0 <= self.momentum_start <= 1.0):
            raise ConfigError("target momenta must be in [0, 1]")
        if not 0 < self.std_floor < float("inf"):
            raise ConfigError(f"std_floor must be positive; got {self.std_floor}")


def local_moments(x: Tensor, counted: bool) -> Moments:
    """Count, sum and squared sum per channel of (…, channel), as one fp64 vector of 1 + 2 * channel.

    Args:
        x: tokens of this rank.
        counted: False for placeholder rows, which do not count.
    """
    if not counted:
        return torch.zeros(1 + 2 * x.shape[-1], dtype=torch.float64, device=x.device)
    return channel_sums(x.float())


def mean_and_std(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return count, mean and unbiased deviation (channel,), in fp32, from summed `Moments`."""
    count, sums = moments[0], moments[1:].view(2, -1)
    mean = sums[0] / count  # (channel,)
    variance = (sums[1] - count * mean * mean) / (count - 1)  # (channel,), unbiased
    return count, mean.float(), variance.clamp(min=0).sqrt().float()


def local_directions(x: Tensor, counted: bool) -> Moments:
    """Count, and sum of unit vectors per channel, of class tokens (image, channel); as long as `local_moments`."""
    channels = x.shape[-1]
    if not counted:
        return torch.zeros(1 + 2 * channels, dtype=torch.float64, device=x.device)
    # `full`: assigning the number would copy it from the host, which then waits.
    count = torch.full((1,), float(x.shape[0]), dtype=torch.float64, device=x.device)
    sums = normalize(x.double(), dim=-1).sum(0)  # (channel,)
    return torch.cat((count, sums, torch.zeros_like(sums)))


def mean_and_spread(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return count, a zero mean, and the spread of directions for every channel, from summed `local_directions`.

    The spread is the root of 2 (1 - R), where R is the length of the mean unit vector. This is the root-mean-square
    distance of the unit vectors from their mean direction; for a narrow cone, the root-mean-square angle to it.
    """
    count, sums = moments[0], moments[1:].view(2, -1)
    spread = (2.0 * (1.0 - (sums[0] / count).norm())).clamp(min=0).sqrt().float()
    return count, torch.zeros_like(sums[0]).float(), spread.expand(sums.shape[1]).clone()


class TargetStandardizer:
    """Standardizes the targets of a batch and keeps the running statistics.

    Args:
        config: see `TargetConfig`.
        statistics: the buffers of each teacher. They belong to the student and are saved with it.
        directions: class tokens are compared by angle: divide them by their spread and do not centre them.
    """

    def __init__(self, config: TargetConfig, statistics: nn.ModuleDict, directions: bool = False) -> None:
        self.config = config
        self.statistics = statistics
        self.directions = directions

    def _buffers(self, teacher: str) -> TargetStatistics:
        return self.statistics[teacher]  # type: ignore[return-value]

    def rotation(self, teacher: str, kind: TokenKind) -> Tensor | None:
        """PHI-S's rotation (channel, channel) of a teacher's channels, if there is one."""
        return self._buffers(teacher).of_kind(kind).rotation

    def by_direction(self, kind: str) -> bool:
        """Whether tokens of a kind are compared by direction, and therefore not centred."""
        return self.directions and kind == "cls"

    def dispersion(self, teacher: str) -> Tensor | None:
        """Squared spread of a teacher's class tokens in radians², a scalar; None if directions are not compared."""
        buffers = self._buffers(teacher)
        if not self.directions or "cls" not in buffers:
            return None
        return buffers.of_kind("cls").std[0].clamp(min=SPREAD_FLOOR).square()

    def measure(self, raw: Mapping[str, Tokens], counts: Mapping[str, int]) -> Tensor:
        """Compute the moments of a batch or a part of it, packed for `follow`. Those of several parts and ranks add up.

        Args:
            raw: for each teacher, the tokens of this rank's rows.
            counts: for each teacher, how many of its rows count (0: placeholders).
        """
        packed: list[Tensor] = []
        for teacher, tokens in raw.items():
            for kind, _ in self._buffers(teacher).by_kind():
                x = tokens.of_kind(kind)
                if x is None:
                    raise ValueError(f"teacher {teacher!r} gave no {kind} tokens")
                local = local_directions if self.by_direction(kind) else local_moments
                packed.append(local(x, counts[teacher] > 0))
        return torch.cat(packed)  # one vector, so one collective

    @torch.no_grad()
    def follow(self, packed: Tensor, teachers: Iterable[str], momentum: float) -> Scales:
        """Update the buffers from the global batch's moments; return the means and deviations to standardize with.

        Args:
            packed: sum of the results of `measure`, over parts and ranks.
            teachers: the teachers given to `measure`, in the same order.
            momentum: of the buffers.
        """
        slots = [(teacher, *pair) for teacher in teachers for pair in self._buffers(teacher).by_kind()]
        scales: Scales = {}
        sizes = [1 + 2 * buffers.mean.numel() for *_, buffers in slots]  # as `measure` packed them
        for (teacher, kind, buffers), moments in zip(slots, packed.split(sizes), strict=True):
            of = mean_and_spread if self.by_direction(kind) else mean_and_std
            scales[teacher, kind] = self._follow(buffers, of(moments), momentum)
        return scales

    def _follow(
        self, buffers: KindStatistics, found: tuple[Tensor, Tensor, Tensor], momentum: float
    ) -> tuple[Tensor, Tensor]:
        """Update the buffers from (count, mean, deviation); return the mean and deviation to standardize with."""
        count, mean, std = found
        enough = count > 1  # a deviation needs two tokens; otherwise keep the buffers' values
        mean, std = torch.where(enough, mean, buffers.mean), torch.where(enough, std, buffers.std)
        buffers.update(mean, std, momentum)
        if self.config.statistics == "running":
            return buffers.mean.clone(), buffers.std.clone()
        return mean, std

    @torch.no_grad()
    def running(self, raw: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """Standardize by the buffers, for evaluation."""
        return self.standardize(raw, self.kept(raw))

    def kept(self, teachers: Iterable[str]) -> Scales:
        """Means and deviations in the buffers."""
        return {
            (teacher, kind): (buffers.mean, buffers.std)
            for teacher in teachers
            for kind, buffers in self._buffers(teacher).by_kind()
        }

    @torch.no_grad()
    def standardize(self, raw: Mapping[str, Tokens], scales: Scales) -> dict[str, Tokens]:
        """Standardize raw tokens by the given means and deviations."""
        return {teacher: self._apply(tokens, teacher, scales) for teacher, tokens in raw.items()}

    def _apply(self, tokens: Tokens, teacher: str, scales: Scales) -> Tokens:
        def scaled(kind: TokenKind) -> Tensor | None:
            x = tokens.of_kind(kind)
            if x is None or (teacher, kind) not in scales:
                return None
            rotation = self._buffers(teacher).of_kind(kind).rotation
            return standardize(x, *scales[teacher, kind], self.config.std_floor, rotation)

        patches = scaled("patch")
        if patches is None:
            patches = tokens.patches[:, :0].float()  # no patch targets: (image, 0, channel)
        return Tokens(patches=patches, grid=tokens.grid, cls=scaled("cls"), normed=True)
