"""The engine's part of a run's configuration (`EngineConfig`, `Settings`); the outcome of `train` (`TrainSummary`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from codistill.engine.optim import OptimConfig
from codistill.engine.tracking import TRACKERS, TrackerName
from codistill.errors import ConfigError, unknown_name
from codistill.files.config import CHANGEABLE
from codistill.nn.precision import Precision

Strategy = Literal["ddp", "fsdp2"]
FailedValidation = Literal["reported", "fatal"]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How a run trains, for any objective.

    Attributes:
        total_steps: optimizer steps of the run.
        seed: of every draw.
        precision: of the forward pass; `auto` is bf16 on CUDA and fp32 on a CPU, `fast` also bf16 on a CPU where that
            is measured to be faster.
        max_nonfinite: steps in a row with a loss or gradient that is not finite, each skipped, that end the run.
        accumulate: parts into which each rank cuts its images of a step, and whose gradients add up.
        strategy: with several processes: `ddp` (a whole copy each) or `fsdp2` (everything sharded).
        compile: `torch.compile` the transformer blocks.
        activation_checkpointing: recompute them in the backward pass instead of keeping their activations.
        log_every: steps between two reads of the metrics.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        keep_checkpoints: number of newest checkpoints to keep.
        keep_every: also keep those of every so many steps (0: none).
        validate_every: steps between two validations, and at the end (0: none). A due checkpoint is written first.
        failed_validation: a validation that cannot be computed is `reported` and training continues, or it is
            `fatal`, after a checkpoint.
        stop_after: stop after this step as if asked to, at once where the run is past it; the same call without it
            resumes.
        trackers: curves beside metrics.jsonl.
    """

    total_steps: int
    seed: int = 0
    precision: Precision = "auto"
    max_nonfinite: int = field(default=10, metadata=CHANGEABLE)
    accumulate: int = field(default=1, metadata=CHANGEABLE)
    strategy: Strategy = field(default="ddp", metadata=CHANGEABLE)
    compile: bool = field(default=False, metadata=CHANGEABLE)
    activation_checkpointing: bool = field(default=False, metadata=CHANGEABLE)
    log_every: int = field(default=50, metadata=CHANGEABLE)
    checkpoint_every: int = field(default=1000, metadata=CHANGEABLE)
    keep_checkpoints: int = field(default=2, metadata=CHANGEABLE)
    keep_every: int = field(default=0, metadata=CHANGEABLE)
    validate_every: int = field(default=0, metadata=CHANGEABLE)
    failed_validation: FailedValidation = field(default="reported", metadata=CHANGEABLE)
    stop_after: int | None = field(default=None, metadata=CHANGEABLE)
    trackers: tuple[TrackerName, ...] = field(default=("tensorboard",), metadata=CHANGEABLE)

    @classmethod
    def for_steps(cls, total_steps: int, **rest: Any) -> Self:
        """The config of a run whose length alone is known: ten logs and four checkpoints at least, as steps allow.

        Args:
            total_steps: of the run.
            rest: other fields, by name.
        """
        log_every = max(1, min(50, total_steps // 10))
        checkpoint_every = max(1, min(1000, total_steps // 4))
        return cls(total_steps=total_steps, log_every=log_every, checkpoint_every=checkpoint_every, **rest)

    def __post_init__(self) -> None:
        for name in (
            "total_steps",
            "max_nonfinite",
            "accumulate",
            "log_every",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        for name in ("keep_every", "validate_every", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        if self.stop_after is not None and self.stop_after < 1:
            raise ConfigError(f"stop_after is {self.stop_after}; it must be 1 or more.")
        choices = {"precision": get_args(Precision), "strategy": ("ddp", "fsdp2")}
        choices["failed_validation"] = ("reported", "fatal")
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(unknown_name(name, str(getattr(self, name)), allowed))
        for tracker in self.trackers:
            if tracker not in TRACKERS:
                raise ConfigError(unknown_name("tracker", tracker, TRACKERS))


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """How a call of `train` ended.

    Attributes:
        step, total_steps: steps done, and of the run.
        resumed_from: step this call started at; 0 for a new run.
        finished: whether all steps are done, and the validation that follows the last one, if one is due.
        stopped_by: the signal that ended this call early, `stop_after`, or None.
        skipped: steps of this call that were skipped because something was not finite.
        bad_images: images that this call replaced.
        metrics: means over the last log interval of this call.
        validation: the last validation of this call.
        failed_validations: those of this call that could not be computed.
    """

    step: int
    total_steps: int
    resumed_from: int = 0
    finished: bool = False
    stopped_by: str | None = None
    skipped: int = 0
    bad_images: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    validation: Mapping[str, float] = field(default_factory=dict[str, float])
    failed_validations: int = 0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What must not change between two calls for one run, besides the user's recipe."""

    engine: EngineConfig
    optim: OptimConfig
    global_batch: int
