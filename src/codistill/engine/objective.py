"""The interface between the engine and a training task: batches in, a scalar loss and numbers to log out.

Distillation, two-view and human-mesh training are three objectives. An objective owns everything frozen (teachers).
Only its `trainable` module is wrapped for distribution, moved between devices and saved.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from codistill.types import Batch

BatchT = TypeVar("BatchT", bound=Batch)
"""The kind of batch of a run: the same for the objective, its loaders and the loop."""
TrainBatches = Callable[[int], Iterable[BatchT]]
"""Called with a start step; gives the batches from that step on."""
ValBatches = Callable[[], Iterable[BatchT]]
_Taken = TypeVar("_Taken", bound=Batch, contravariant=True)


def identity(tensor: Tensor) -> Tensor:
    """Return the tensor itself: the sum over one process."""
    return tensor


def _no_timing(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Position in the run, and services of the engine for an objective.

    Attributes:
        step: 0-based optimizer step.
        total_steps: steps of the whole run.
        seed: of the run. Random draws in the step depend on (seed, step, slot), never on a global generator.
        rank, world_size: of this process; see `slots` for the images of the global batch that it holds.
        micro_step, micro_steps: index of this gradient-accumulation part within the step, and their number.
        prepared: result of `LooksAhead.prepare` for this part; None if the step has only one part.
        all_reduce_sum: sums a tensor over all ranks, in place, and returns it. Identity for one process.
        phase: `with context.phase("teachers"):` adds the time of the block to that phase, without a device sync.
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
        """Slots of a batch's `count` images in the step's global batch; every draw for an image depends on its slot.

        Rank r holds the slots r, r + world_size, ...; micro-step m continues where m - 1 ended (all of one size).
        """
        first = self.rank + self.world_size * self.micro_step * count
        return range(first, first + self.world_size * count, self.world_size)

    def slots_of(self, batch: Batch) -> Sequence[int]:
        """Slots of a batch's images in the step's global batch, in any order."""
        if batch.places is None:
            return self.slots(len(batch))
        return [self.rank + self.world_size * place for place in batch.places]


@dataclass(frozen=True)
class StepResult:
    """Result of one batch.

    Attributes:
        loss: the scalar to differentiate.
        total: for steps of several parts: this part's share of the number by which the summed losses of all parts and
            ranks are divided (a scalar on the device, detached). None: `loss` is a mean, and the step's loss is the
            mean over its parts.
        metrics: scalars on the device, detached, with the same names in every step; NaN if there is no value. Means
            over this rank's images unless the name says otherwise.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor | None = None


class Objective(Protocol[_Taken]):
    """A training task as the engine sees it, for one kind of batch.

    Attributes:
        trainable: the parameters to train. The engine wraps it (DDP, FSDP2, compile) and passes the wrapped module to
            `step` as `model`. There, only `model(...)` may be called, never `trainable(...)`.
    """

    @property
    def trainable(self) -> nn.Module: ...

    def to_device(self, device: Any) -> None:
        """Move frozen parts (teachers) to the device; the engine moves `trainable` itself."""
        ...

    def step(self, model: nn.Module, batch: _Taken, context: StepContext) -> StepResult:
        """Compute the loss of one batch. No host sync, and no collective other than `context.all_reduce_sum`."""
        ...

    def evaluate(self, model: nn.Module, batches: Iterable[_Taken], context: StepContext) -> dict[str, float]:
        """Compute numbers on held-out batches (`{}` if there is nothing to validate)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Describe the run for its export: architecture, normalization, teachers and their licences. JSON only."""
        ...


@runtime_checkable
class LooksAhead(Protocol[_Taken]):
    """An objective that needs all images of a step before its first part (with gradient accumulation)."""

    def prepare(self, batches: Sequence[_Taken], context: StepContext) -> Sequence[Any]:
        """Compute what each part needs from all parts. Called before the first forward pass of several parts."""
        ...


@runtime_checkable
class FollowsUpdates(Protocol):
    """An objective that does something after every optimizer step, such as updating a moving average of the weights."""

    def after_update(self, skipped: Tensor | None = None) -> None:
        """Called after the parameters were updated on the device. No host sync, no collective.

        Args:
            skipped: scalar on the device, 1 if the step was skipped and changed nothing, else 0. None: 0.
        """
        ...
