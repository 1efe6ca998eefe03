"""Fit a head of any dense task by the published protocol: one head, fresh views in every step, with the engine."""

from dataclasses import replace
from typing import Any

from torch import nn

from codistill.engine.distributed import Process
from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.dense.objective import HeadInput, HeadLoss, HeadObjective
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseData
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_fit import HeadTraining, run_head_fit
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.loading import DenseBatch, ViewMaker, train_batches
from codistill.tasks.shared.resumed import with_encoder


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
    """Train the head in place; the same call resumes.

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
    about = {"data": config.data, **features.describe()}

    def training() -> HeadTraining[DenseBatch]:
        return HeadTraining(
            objective=HeadObjective(features, head, head_input, head_loss, about),
            train_batches=train_batches(
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
        )

    facts = run_head_fit(
        training,
        lambda: with_encoder(inputs_of(data), features),
        config=config,
        steps=steps,
        seed=config.seed,
        optim=replace(optim, lr=config.learning_rates[0], weight_decay=config.weight_decay),
        batch_size=config.batch_size,
        runtime=runtime,
        process=process,
    )
    return None if facts is None else {"chosen_lr": config.learning_rates[0], **facts.as_record()}
