"""The engine's objectives: anything that turns a batch into one scalar and some numbers to log.

Distillation, two-view and human-mesh training are three of them. The objective owns everything frozen (teachers);
its `trainable` module alone is wrapped for distribution, moved between devices and saved.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from codistill.types import Batch

BatchT = TypeVar("BatchT", bound=Batch)
"""The kind of batch of a run: an objective's, its loaders' and the loop's are one."""
TrainBatches = Callable[[int], Iterable[BatchT]]
"""From a start step to the batches from there on."""
ValBatches = Callable[[], Iterable[BatchT]]
_Taken = TypeVar("_Taken", bound=Batch, contravariant=True)


def identity(tensor: Tensor) -> Tensor:
    """The sum over one process."""
    return tensor


def _no_timing(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Position in the run, and the engine's services for an objective.

    Attributes:
        step: 0-based optimizer step.
        total_steps: steps of the whole run.
        seed: of the run. Random draws in the step come from (seed, step, slot), never from a global generator.
        rank, world_size: of this process; see `slots` for which images of the global batch it holds.
        micro_step, micro_steps: which gradient-accumulation part of the step this is, and of how many.
        prepared: result of `LooksAhead.prepare` for this part; None where there is only one.
        all_reduce_sum: sums a tensor over all ranks, in place, and returns it. Identity for one process.
        phase: `with context.phase("teachers"):` books the time of the block, without a device sync.
    """

    step: int
    total_steps: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    micro_step: int = 0
    micro_steps: int = 1
    prepared: Any = None
    all_reduce_sum: Callable[[Tensor], Tensor] = identity
    phase: Callable[[str], AbstractContextManager[None]] = _no_timing

    def slots(self, count: int) -> range:
        """Places of a batch's `count` images in the step's global batch: the key of every draw per image.

        Rank r holds the slots r, r + world_size, ...; micro-step m continues where m - 1 ended (all of one size).
        """
        first = self.rank + self.world_size * self.micro_step * count
        return range(first, first + self.world_size * count, self.world_size)

    def slots_of(self, batch: Batch) -> Sequence[int]:
        """Places of a batch's images in the step's global batch, in any order."""
        if batch.places is None:
            return self.slots(len(batch))
        return [self.rank + self.world_size * place for place in batch.places]


@dataclass(frozen=True)
class StepResult:
    """Outcome of one batch.

    Attributes:
        loss: the scalar to differentiate.
        total: this part's share of the divisor of the summed losses of all parts and ranks, for steps of several
            parts (a scalar on the device, detached). None: `loss` is a mean, and the step's is that of its parts.
        metrics: scalars on the device, detached, the same names in every step; NaN without a value. Means over this
            rank's images unless the name says otherwise.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor | None = None


class Objective(Protocol[_Taken]):
    """The engine's side of a training task, for one kind of batch.

    Attributes:
        trainable: the parameters to train. The engine wraps it (DDP, FSDP2, compile) and hands the wrapped one to
            `step` as `model`; only `model(...)`, never `trainable(...)`, may be called there.
    """

    @property
    def trainable(self) -> nn.Module: ...

    def to_device(self, device: Any) -> None:
        """Move frozen parts (teachers) to the device; the engine moves `trainable` itself."""
        ...

    def step(self, model: nn.Module, batch: _Taken, context: StepContext) -> StepResult:
        """Loss of one batch; no host sync, no collective but `context.all_reduce_sum`."""
        ...

    def evaluate(self, model: nn.Module, batches: Iterable[_Taken], context: StepContext) -> dict[str, float]:
        """Numbers on held-out batches (`{}` if there is nothing to validate)."""
        ...

    def describe(self) -> dict[str, Any]:
        """The export's description: architecture, normalization, teachers and their licences. JSON only."""
        ...


@runtime_checkable
class LooksAhead(Protocol[_Taken]):
    """An objective that needs all images of a step before its first part."""

    def prepare(self, batches: Sequence[_Taken], context: StepContext) -> Sequence[Any]:
        """What each part needs from all parts; called before the first forward in steps of several parts."""
        ...


@runtime_checkable
class FollowsUpdates(Protocol):
    """An objective with work after every optimizer step, such as a moving average of the weights."""

    def after_update(self) -> None:
        """Called when the parameters are updated, on the device: no host sync, no collective."""
        ...
