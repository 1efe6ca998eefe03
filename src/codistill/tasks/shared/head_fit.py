"""Train any head with the engine; returns facts on the fit for the head's record.

HEAD/run/    the engine's run; the same call resumes it
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import nn

from codistill.engine.distributed import Process
from codistill.engine.nonfinite import OWN_METRICS
from codistill.engine.objective import BatchT, Objective, TrainBatches, ValBatches
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.files.inputs import Inputs
from codistill.nn.precision import Precision
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.resumed import check_resumed

RUN = "run"
"""Folder of the engine's run, inside the head's folder."""


@dataclass(frozen=True, kw_only=True)
class HeadTraining(Generic[BatchT]):
    """What a fit trains.

    Attributes:
        objective: its module is trained in place.
        train_batches, val_batches: see `train`.
        validate_every: steps between validations.
    """

    objective: Objective[BatchT]
    train_batches: TrainBatches[BatchT]
    val_batches: ValBatches[BatchT] | None = None
    validate_every: int = 0


@dataclass(frozen=True, kw_only=True)
class FitFacts:
    """Facts on a finished fit.

    Attributes:
        trained: the objective's module.
        steps: steps of the whole fit.
        losses: means over the last log interval: the loss and its terms.
        validation: result of the last validation in this call; may be empty.
        seconds_preparing: seconds before the first step of this call.
        seconds_per_step: seconds per step; None if this call ran no step.
        device: device on which the fit ran.
        data_changed: changes in the data since the fit began.
    """

    trained: nn.Module
    steps: int
    losses: Mapping[str, float]
    validation: Mapping[str, float] = field(default_factory=dict)
    seconds_preparing: float
    seconds_per_step: float | None
    device: str
    data_changed: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """The facts for head.json, without empty ones."""
        facts = {
            "steps": self.steps,
            "losses": dict(self.losses),
            "validation": dict(self.validation),
            "seconds_preparing": round(self.seconds_preparing, 1),
            "seconds_per_step": None if self.seconds_per_step is None else round(self.seconds_per_step, 4),
            "device": self.device,
            "data_changed": list(self.data_changed),
        }
        return {name: value for name, value in facts.items() if value not in ({}, [])}


def run_head_fit(
    prepare: Callable[[], HeadTraining[BatchT]],
    inputs: Callable[[], Inputs],
    *,
    config: Any,
    steps: int,
    seed: int,
    optim: OptimConfig,
    batch_size: int,
    runtime: Runtime,
    process: Process,
    accumulate: int = 1,
    precision: Precision = "auto",
) -> FitFacts | None:
    """Train a head in place; the same call resumes. Every rank must call it.

    Args:
        prepare: makes what to train; called after the data is checked, since it may encode all of it.
        inputs: returns the inputs of the fit; called by the first process.
        config: frozen dataclass with all that defines the fit; compared on resuming.
        steps, seed: length and seed of the fit.
        optim: config of the optimizer.
        batch_size: samples per step, over all ranks and accumulated parts.
        runtime: where and how to compute.
        process: this process.
        accumulate: parts into which a step is cut.
        precision: precision of the forward pass.

    Returns:
        Facts on the fit, or None if it was stopped before its end.

    Raises:
        ConfigError: if the folder holds a fit with another config, or a finished head that was fitted on other data.
        CheckpointError: if nothing can be written there.
        DataError: if a sample cannot be used.
    """
    # Imported here: it imports PyTorch's distributed parts, which takes seconds, and using a head needs none of them.
    from codistill.engine.loop import train

    changes = process.on_main(lambda: check_resumed(runtime.out, RUN, inputs(), runtime.say))
    called = time.perf_counter()
    training = prepare()
    started = time.perf_counter()
    summary = train(
        training.objective,
        training.train_batches,
        training.val_batches,
        config=EngineConfig.for_steps(
            steps,
            seed=seed,
            accumulate=accumulate,
            precision=precision,
            activation_checkpointing=runtime.recompute,
            validate_every=training.validate_every,
        ),
        optim=optim,
        run_dir=runtime.out / RUN,
        process=process,
        global_batch=batch_size,
        recipe=config,
        console=runtime.console,
    )
    if not summary.finished:
        return None
    seconds, done = time.perf_counter() - started, summary.step - summary.resumed_from
    return FitFacts(
        trained=training.objective.trainable,
        steps=steps,
        losses={name: value for name, value in summary.metrics.items() if _is_loss(name)},
        validation=summary.validation,
        seconds_preparing=started - called,
        seconds_per_step=seconds / done if done else None,
        device=str(torch.device(process.device)),
        data_changed=tuple(changes),
    )


def _is_loss(name: str) -> bool:
    """Whether a logged number comes from the objective, not from the engine."""
    return "/" not in name and name not in OWN_METRICS
