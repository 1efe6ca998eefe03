"""Set fixed target statistics before training, from the teachers' tokens on some training batches.

`channels`: mean and standard deviation of each channel over all tokens of the batches. PHI-S: the rotation H Uᵀ /
√channels is built from the eigenvectors U of the channels' covariance and a Hadamard matrix H. After it, every channel
has the mean eigenvalue as its variance, and all channels are divided by its root. Both transforms are invertible.
Sources: EUPE (statistics fixed beforehand); PHI-S (arXiv 2410.01680).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable

import torch
from torch import Tensor

from codistill.distill.hadamard import hadamard
from codistill.distill.objective import DistillationObjective
from codistill.distill.targets import local_directions, local_moments, mean_and_spread, mean_and_std
from codistill.errors import DataError
from codistill.nn.moments import Moments
from codistill.student.statistics import KindStatistics, TargetStatistics
from codistill.types import Batch, TokenKind


class Collected(ABC):
    """Sums over tokens (…, channel), in one fp64 tensor `packed` that ranks can add. Its first value is the count."""

    packed: Tensor

    @abstractmethod
    def add(self, x: Tensor) -> None: ...

    @abstractmethod
    def write(self, statistics: KindStatistics) -> None:
        """Copy the resulting statistics into the student's buffers."""


class ChannelMoments(Collected):
    """Mean and standard deviation of each channel; for tokens compared by angle, the spread of their directions."""

    def __init__(self, channels: int, device: torch.device, directions: bool) -> None:
        self.packed = torch.zeros(1 + 2 * channels, dtype=torch.float64, device=device)
        self._local = local_directions if directions else local_moments
        self._result = mean_and_spread if directions else mean_and_std

    def add(self, x: Tensor) -> None:
        self.packed += self._local(x, True)

    def write(self, statistics: KindStatistics) -> None:
        _, mean, std = self._result(self.packed)
        statistics.mean.copy_(mean)
        statistics.std.copy_(std)


class RotatedMoments(Collected):
    """Mean and covariance of the channels, from which PHI-S's rotation and deviation are written."""

    def __init__(self, channels: int, device: torch.device) -> None:
        hadamard(channels)  # refuses a width without one before the batches are seen
        self._moments = Moments(channels, device)
        self.packed = self._moments.packed

    def add(self, x: Tensor) -> None:
        self._moments.add(x.float())

    def write(self, statistics: KindStatistics) -> None:
        rotation, deviation = phi_s(self._moments.covariance(correction=1))
        assert statistics.rotation is not None
        statistics.rotation.copy_(rotation)
        statistics.mean.copy_(self._moments.mean())
        statistics.std.copy_(deviation.expand_as(statistics.std))


def phi_s(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Compute PHI-S's rotation and deviation from a covariance (channel, channel).

    Returns:
        The orthogonal rotation H Uᵀ / √channels (channel, channel), and the deviation: a scalar, the root of the mean
        eigenvalue. Every channel of rotation · x / deviation has variance 1.

    Raises:
        ConfigError: if there is no Hadamard matrix of that size.
    """
    channels = covariance.shape[0]
    rows = torch.from_numpy(hadamard(channels)).to(covariance) / channels**0.5  # H / √channels
    vectors = torch.linalg.eigh(covariance).eigenvectors  # U, in columns
    return rows @ vectors.T, (covariance.trace() / channels).clamp(min=0).sqrt()  # trace: sum of eigenvalues


@torch.no_grad()
def calibrate(
    objective: DistillationObjective,
    batches: Iterable[Batch],
    teachers: Collection[str],
    all_reduce_sum: Callable[[Tensor], Tensor],
    micro_steps: int = 1,
) -> int:
    """Set the target statistics of the named teachers, from all the batches of all ranks.

    Args:
        objective: its bank gives the targets, its student holds the statistics. Both are on the batches' device.
        batches: the batches of this rank, at least one. Data sharing decides which images each teacher sees, as in
            training.
        teachers: names of the teachers whose statistics are set.
        all_reduce_sum: sums a tensor over ranks.
        micro_steps: batches per step (gradient accumulation); the first batch belongs to step 0.

    Returns:
        Number of images seen by this rank.

    Raises:
        ConfigError: if the transform is PHI-S and there is no Hadamard matrix of a teacher's width.
        DataError: if a teacher saw fewer than two tokens.
    """
    collected: dict[tuple[str, TokenKind], Collected] = {}
    images = 0
    for number, batch in enumerate(batches):
        images += len(batch)
        plan = objective.plan(batch)
        raw = objective.targets(batch, plan, number // micro_steps)
        for teacher in teachers:
            for kind in objective.kinds[teacher]:
                x = raw[teacher].of_kind(kind)
                assert x is not None
                if (teacher, kind) not in collected:
                    collected[teacher, kind] = _moments_for(objective, kind, x)
                if plan.counts[teacher]:  # 0: its only row is a placeholder, which does not count
                    collected[teacher, kind].add(x)
    for (teacher, kind), moments in collected.items():
        all_reduce_sum(moments.packed)  # in place
        if not moments.packed.flatten()[0] > 1:
            raise DataError(
                f"teacher {teacher!r} saw no image in the batches that fixed target statistics are taken from; "
                "raise distill.targets.estimate_steps, or let it share more images"
            )
        statistics: TargetStatistics = objective.trainable.target_statistics[teacher]  # type: ignore[assignment]
        moments.write(statistics.of_kind(kind))
    return images


def suits(objective: DistillationObjective, teacher: str) -> bool:
    """Whether a teacher's statistics are of the kind that the objective needs, and not the initial ones.

    Their values tell: PHI-S and directions have one deviation for all channels, and directions a mean of 0.
    """
    statistics: TargetStatistics = objective.trainable.target_statistics[teacher]  # type: ignore[assignment]
    for kind, kept in statistics.by_kind():
        directions = objective.standardizer.by_direction(kind)
        single = bool((kept.std == kept.std[0]).all())
        if single != (directions or kept.rotation is not None) or bool((kept.std == 1).all()):
            return False
        if single and directions == bool(kept.mean.any()):
            return False
    return True


def _moments_for(objective: DistillationObjective, kind: TokenKind, x: Tensor) -> Collected:
    directions = objective.standardizer.by_direction(kind)
    if objective.config.targets.transform == "phi_s" and not directions:
        return RotatedMoments(x.shape[-1], x.device)
    return ChannelMoments(x.shape[-1], x.device, directions)
