"""Config of fits in which the encoder may train together with the head, and how such a fit runs in the engine."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from codistill.engine.distributed import Process
from codistill.engine.objective import BatchT
from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError, check_least
from codistill.files.config import CHANGEABLE
from codistill.files.idle import Idle
from codistill.files.inputs import Inputs
from codistill.nn.precision import Precision
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.head_fit import FitFacts, HeadTraining, run_head_fit
from codistill.tasks.shared.unfrozen import with_encoder_scale


@dataclass(frozen=True, kw_only=True)
class TrainedFit(HeadFit):
    """How a head is fitted: on stored tokens of a frozen encoder or on fresh views, with the encoder frozen or trained.

    Attributes:
        steps, batch_size: number of steps, and samples per step.
        accumulate: batches into which each rank cuts its share of a step.
        cached: encode once and store the tokens; otherwise encode in every step.
        unfreeze: train the encoder as well; needs fresh views (not `cached`).
        encoder_lr_scale: learning rate of the encoder, relative to that of the head.
        precision: in which steps compute; `auto`: bf16 on a GPU; `fast`: also on a CPU where it is faster. Losses
            stay in fp32.
        optim: optimizer; weight decay acts on tensors with two or more dimensions.
    """

    steps: int = 2000
    batch_size: int = 16
    accumulate: int = field(default=1, metadata=CHANGEABLE)
    cached: bool = True
    unfreeze: bool = False
    encoder_lr_scale: float = 1.0
    precision: Precision = "auto"
    optim: OptimConfig = field(default_factory=OptimConfig)

    fresh: ClassVar[str]
    """Options that turn storing off, for error messages."""

    def __post_init__(self) -> None:
        check_least(self, "steps", "batch_size", "accumulate")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be cut into {self.accumulate} equal parts (--accumulate)"
            )
        if not (math.isfinite(self.encoder_lr_scale) and self.encoder_lr_scale > 0.0):
            raise ConfigError(
                f"the factor of the encoder's learning rate must be above 0; got {self.encoder_lr_scale}"
            )
        if self.unfreeze and self.cached:
            raise ConfigError(
                "--unfreeze trains the encoder, so its tokens change with every step and cannot be computed once. "
                f"Encode fresh views in every step: add {self.fresh}, or take the recipe `published`"
            )
        super().__post_init__()

    def idle(self) -> Iterator[Idle]:
        yield from super().idle()
        if not self.unfreeze:
            yield "encoder_lr_scale", "a frozen encoder has no learning rate (--unfreeze)"

    def idle_computing(self) -> Iterator[Idle]:
        yield from super().idle_computing()
        if not self.cached:
            yield "cache", "fresh views are encoded in every step, and no tokens are kept"


def run_trained_fit(
    prepare: Callable[[], HeadTraining[BatchT]],
    inputs: Callable[[], Inputs],
    config: TrainedFit,
    runtime: Runtime,
    process: Process,
) -> FitFacts | None:
    """Train as the config says; see `run_head_fit`."""
    return run_head_fit(
        prepare,
        inputs,
        config=config,
        steps=config.steps,
        seed=config.seed,
        optim=with_encoder_scale(config.optim, config.encoder_lr_scale),
        batch_size=config.batch_size,
        runtime=runtime,
        process=process,
        accumulate=config.accumulate,
        precision=config.precision,
    )
