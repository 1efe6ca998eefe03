"""One optimizer step: batches in, device scalars out, without a read from the device.

if there are several parts: the objective prepares all of them
for each part (micro-step): forward → loss → backward (gradients are reduced in the last one)
norms → flag non-finite values on any rank → clip → AdamW unless flagged → restore the buffers if flagged
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic

import torch
from torch import Tensor, nn

from codistill.engine.distributed import Process
from codistill.engine.nonfinite import SKIPPED
from codistill.engine.objective import BatchT, FollowsUpdates, LooksAhead, Objective, StepContext, StepResult
from codistill.engine.optim import GradientNorms, TrainOptimizer
from codistill.engine.parallel import synchronizing
from codistill.engine.signals import StopVote
from codistill.engine.timing import PhaseTimer
from codistill.nn.precision import Precision, autocast
from codistill.nn.seeded import mixed


class TrainStep(Generic[BatchT]):
    """Runs optimizer steps.

    Args:
        objective: what to train.
        model: its trainable module, wrapped.
        optimizer: of the module's parameters.
        process: this process.
        timer: measures "backward" and "optimizer"; objectives measure their own phases.
        vote: passes on requests to stop.
        context: creates the context of a step; holds what all steps share (seed, total_steps, …).
        precision: of the forward pass.
    """

    def __init__(
        self,
        objective: Objective[BatchT],
        model: nn.Module,
        optimizer: TrainOptimizer,
        *,
        process: Process,
        timer: PhaseTimer,
        vote: StopVote,
        context: partial[StepContext],
        precision: Precision,
    ) -> None:
        self.objective, self.model, self.optimizer = objective, model, optimizer
        self.process, self.timer, self.vote = process, timer, vote
        self.context = context
        self.precision: Precision = precision
        self.buffers = list(objective.trainable.buffers())

    def __call__(self, step: int, batches: Sequence[BatchT]) -> dict[str, Tensor]:
        """Update the model with the batches of one step; return its metrics, as scalars on the device."""
        self.optimizer.zero_grad()
        before = [buffer.clone() for buffer in self.buffers]  # running statistics, for a skipped step
        results: list[StepResult] = []
        prepared = self._prepare(step, batches)
        for micro, batch in enumerate(batches):
            ahead = prepared.pop(0) if prepared else None
            context = self.context(step=step, micro_step=micro, micro_steps=len(batches), prepared=ahead)
            seed_generators(context)  # so that a resumed run draws the same stochastic depth
            with synchronizing(self.model, last=micro == len(batches) - 1):
                with autocast(self.process.device, self.precision):
                    result = self.objective.step(self.model, batch, context)
                with self.timer.phase("backward"):
                    (result.loss / len(batches)).backward()  # pyright: ignore[reportUnknownMemberType]
            results.append(replace(result, loss=result.loss.detach()))
            del context, ahead, result  # free them: a part's targets are as large as its images
        with self.timer.phase("optimizer"):
            results = self._divide(results)
            losses, metrics = [r.loss for r in results], [r.metrics for r in results]
            gradients = self.optimizer.measure()
            skip = self._skip(losses, gradients)
            self.optimizer.update(step, gradients, skip)
            self._restore(before, skip)
            if isinstance(self.objective, FollowsUpdates):
                self.objective.after_update(skip)
        means = _mean_over_micro_steps([{"loss": loss, **m} for loss, m in zip(losses, metrics, strict=True)])
        return {**means, **self.optimizer.metrics(gradients), SKIPPED: skip}

    def _prepare(self, step: int, batches: Sequence[BatchT]) -> list[Any]:
        """Call the objective's `prepare` for all parts of a step; empty if there is only one part."""
        if len(batches) == 1 or not isinstance(self.objective, LooksAhead):
            return []
        with autocast(self.process.device, self.precision):
            context = self.context(step=step, micro_steps=len(batches))
            return list(self.objective.prepare(batches, context))  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def _divide(self, results: list[StepResult]) -> list[StepResult]:
        """Divide losses and gradients by the total over all parts and ranks, if the objective reports totals.

        Before that, gradients are (1 / parts) times the mean over ranks of a sum; totals are summed over both.
        """
        totals = [result.total for result in results if result.total is not None]
        if not totals:
            return results
        everything = self.process.all_reduce_sum(torch.stack(totals).sum(), "totals")
        factor = len(results) * self.process.world_size / everything
        self.optimizer.scale_gradients(factor)
        losses = [result.loss * factor for result in results]
        return [
            replace(result, loss=loss, metrics={**result.metrics, "loss": loss})
            for result, loss in zip(results, losses, strict=True)
        ]

    @torch.no_grad()
    def _skip(self, losses: Sequence[Tensor], gradients: GradientNorms) -> Tensor:
        """1 if a loss or a gradient is not finite on any rank, else 0. The collective also sums requests to stop."""
        finite = torch.stack([*losses, gradients.norms.sum()]).isfinite().all()
        flags = torch.stack(((~finite).float(), self.vote.ballot()))
        flags = self.process.all_reduce_sum(flags, "flags")
        self.vote.count(flags[1])
        return (flags[0] > 0).float()

    @torch.no_grad()
    def _restore(self, before: Sequence[Tensor], skip: Tensor) -> None:
        """Undo the changes that a skipped step's forward pass made to buffers (running statistics)."""
        for buffer, old in zip(self.buffers, before, strict=True):
            buffer.copy_(torch.where(skip > 0, old, buffer))


def seed_generators(context: StepContext) -> None:
    """Seed torch's generators for a forward pass, so that a resumed run draws the same stochastic depth."""
    seed = mixed(context.seed, context.step, context.rank, context.micro_step)
    # torch.manual_seed would also keep a stack trace for each accelerator that is not in use: milliseconds.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def _mean_over_micro_steps(metrics: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(metrics) == 1:
        return metrics[0]
    return {name: torch.stack([m[name] for m in metrics]).nanmean() for name in metrics[0]}
