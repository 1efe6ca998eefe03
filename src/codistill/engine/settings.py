"""Configuration of the engine (`EngineConfig`, `Settings`) and the result of `train` (`TrainSummary`)."""

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
        seed: of every random draw.
        precision: of the forward pass; `auto` is bf16 on CUDA and fp32 on a CPU, `fast` is bf16 also on a CPU where
            that is measured to be faster.
        max_nonfinite: number of steps in a row with a non-finite loss or gradient that ends the run; each of them is
            skipped.
        accumulate: gradient accumulation: number of parts into which each rank cuts its images of a step.
        strategy: with several processes: `ddp` (each has a whole copy) or `fsdp2` (everything is sharded).
        compile: `torch.compile` the transformer blocks.
        activation_checkpointing: recompute the activations of transformer blocks in the backward pass instead of
            keeping them.
        log_every: steps between two reads of the metrics.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        keep_checkpoints: number of newest checkpoints to keep.
        keep_every: also keep the checkpoints of every so many steps (0: none).
        validate_every: steps between two validations; there is also one at the end (0: none). A due checkpoint is
            written first.
        failed_validation: if a validation cannot be computed, it is `reported` and training continues, or it is
            `fatal`, after a checkpoint.
        stop_after: stop after this step as if asked to, or at once if the run is already past it; the same call without
            it resumes.
        trackers: where curves are written in addition to metrics.jsonl.
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
        """Make a config for a run of a given length: at least ten logs and four checkpoints, as far as the steps allow.

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
        step, total_steps: steps done, and steps of the run.
        resumed_from: step at which this call started; 0 for a new run.
        finished: whether all steps are done, and also the validation after the last one, if it is due.
        stopped_by: the signal that ended this call early, `stop_after`, or None.
        skipped: steps of this call that were skipped because something was not finite.
        bad_images: number of bad images that this call replaced.
        metrics: means over the last log interval of this call.
        validation: results of the last validation of this call.
        failed_validations: number of validations of this call that could not be computed.
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
    """Settings that must not change between two calls for one run, in addition to the user's recipe."""

    engine: EngineConfig
    optim: OptimConfig
    global_batch: int
