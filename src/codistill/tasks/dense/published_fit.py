"""Fitting by the published protocol, whatever the task: one head, fresh views in every step, trained by the engine."""

import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from codistill.engine.distributed import Process
from codistill.engine.loop import train
from codistill.engine.optim import OptimConfig
from codistill.engine.settings import EngineConfig
from codistill.errors import ConfigError
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.dense.objective import HeadInput, HeadLoss, HeadObjective
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseData
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.loading import ViewMaker, train_batches
from codistill.tasks.shared.resumed import check_resumed, with_encoder

RUN = "run"
"""The engine's run, in the head's folder."""


def fit_published(
    head: nn.Module,
    head_input: HeadInput,
    head_loss: HeadLoss,
    optim: OptimConfig,
    config: DenseFit,
    steps: int,
    data: DenseData,
    features: FrozenFeatures,
    maker: ViewMaker,
    runtime: Runtime,
    process: Process,
) -> dict[str, Any] | None:
    """Train the head in place; the same call goes on after an interruption.

    Returns:
        Facts for the record, or None if the run was stopped before its end.

    Raises:
        ConfigError: if the folder holds a fit with other settings, or several processes share a CPU.
        DataError: if a sample cannot be used.
    """
    if process.world_size > 1:
        if process.device.type != "cuda":
            raise ConfigError(
                "several processes fit a head on CUDA only (batch statistics are shared over it); on a CPU start one"
            )
        head = nn.SyncBatchNorm.convert_sync_batchnorm(head)
    objective = HeadObjective(
        features, head, head_input, head_loss, {"data": config.data, **features.describe()}
    )
    changes = process.on_main(
        lambda: check_resumed(runtime.out, RUN, with_encoder(inputs_of(data), features), runtime.say)
    )
    started = time.perf_counter()
    summary = train(
        objective,
        train_batches(
            data,
            maker,
            batch_size=config.batch_size,
            total_steps=steps,
            seed=config.seed,
            rank=process.rank,
            world_size=process.world_size,
            workers=runtime.workers,
            device=process.device,
        ),
        None,
        config=EngineConfig(
            total_steps=steps,
            seed=config.seed,
            log_every=max(1, min(50, steps // 10)),
            checkpoint_every=max(1, min(1000, steps // 4)),
        ),
        optim=replace(optim, lr=config.learning_rates[0], weight_decay=config.weight_decay),
        run_dir=runtime.out / RUN,
        process=process,
        global_batch=config.batch_size,
        recipe=config,
        console=runtime.console,
    )
    if not summary.finished:
        return None
    seconds, done = time.perf_counter() - started, summary.step - summary.resumed_from
    return {
        "chosen_lr": config.learning_rates[0],
        "loss": summary.metrics.get("loss"),
        "seconds_per_step": round(seconds / done, 4) if done else None,
        "device": str(torch.device(process.device)),
        **({"data_changed": changes} if changes else {}),
    }
