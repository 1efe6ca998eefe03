"""Training: an objective, batches and a folder in; a trained, resumable run out.

The same call starts a run, resumes it after any interruption, and reports on a finished one. On a CPU with the same
number of threads, a resumed run equals an uninterrupted one bit for bit, because batches and draws are functions of
(seed, step).
"""

from functools import partial
from pathlib import Path
from typing import Any, Generic

from rich.console import Console

from codistill.engine.checkpoint import Keep, load_model, load_optimizer, save_checkpoint
from codistill.engine.distributed import Process
from codistill.engine.logging import Row, RunLog, line_sizes, mean_of_rows
from codistill.engine.nonfinite import NonFiniteWatch
from codistill.engine.objective import BatchT, Objective, StepContext, TrainBatches, ValBatches
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.engine.parallel import compile_units, recompute_activations, wrap
from codistill.engine.prefetch import DeviceBatches
from codistill.engine.progress import ProgressDisplay
from codistill.engine.run_dir import Opened, locked, open_run, write_description
from codistill.engine.settings import EngineConfig, Settings, TrainSummary
from codistill.engine.signals import StopVote
from codistill.engine.step import TrainStep
from codistill.engine.tracking import TRACKERS
from codistill.engine.validation import Validation, ValidationError
from codistill.files.plain import to_plain
from codistill.files.writing import make_directory
from codistill.nn.precision import Precision, in_bf16

__all__ = ["EngineConfig", "TrainBatches", "TrainSummary", "ValBatches", "train"]


def train(
    objective: Objective[BatchT],
    train_batches: TrainBatches[BatchT],
    val_batches: ValBatches[BatchT] | None,
    *,
    config: EngineConfig,
    optim: OptimConfig,
    run_dir: Path | str,
    process: Process,
    global_batch: int,
    recipe: Any = None,
    console: Console | None = None,
) -> TrainSummary:
    """Train in a folder, or resume the run in it. Every rank calls this.

    Args:
        objective: what to train; its module holds the initial values.
        train_batches: called with a 0-based start step; gives this rank's batches, `config.accumulate` per step.
        val_batches: called for each validation; gives this rank's held-out batches. None: no validation.
        config, optim: see the classes.
        run_dir: folder of the run; created if missing.
        process: from `start_process`.
        global_batch: images of one step, over all ranks and micro-steps.
        recipe: a frozen dataclass with everything that defines the run. It is saved as config.yaml and compared when
            resuming (fields with `CHANGEABLE` metadata may differ). None: the engine's own settings.
        console: where progress is shown; None: the standard error stream.

    Raises:
        ConfigError: if the folder holds a run with another recipe, or another process trains in it.
        CheckpointError: if the folder cannot be written or read; checkpoints already saved stay.
        NonFiniteError: after `max_nonfinite` skipped steps in a row.
        ValidationError: if a validation fails and `failed_validation` is `fatal`; a checkpoint is written before.
        DataError: if the batches end early.
    """
    run_dir = Path(run_dir)
    settings = Settings(engine=config, optim=optim, global_batch=global_batch)
    process.on_main(lambda: make_directory(run_dir))
    with locked(run_dir, process.is_main):
        recipe = settings if recipe is None else recipe
        opened = process.on_main(lambda: open_run(run_dir, recipe, settings))
        run = _Run(
            objective, settings, run_dir, process, opened, val_batches, console or Console(stderr=True)
        )
        with run.log, run.vote.listening():
            return run.train(train_batches)


class _Run(Generic[BatchT]):
    """State of one call of `train`."""

    def __init__(
        self,
        objective: Objective[BatchT],
        settings: Settings,
        run_dir: Path,
        process: Process,
        opened: Opened,
        val_batches: ValBatches[BatchT] | None,
        console: Console,
    ) -> None:
        self.objective, self.settings, self.config = objective, settings, settings.engine
        self.run_dir, self.process, self.start = run_dir, process, opened.step
        self.problems = opened.problems
        bf16 = process.on_main(lambda: in_bf16(process.device, self.config.precision))  # one answer for all
        self.precision: Precision = "bf16" if bf16 else "fp32"
        saved = opened.checkpoint
        self.before: str = self.precision if saved is None else saved.state.get("precision", self.precision)
        self.module = objective.trainable.to(process.device)
        objective.to_device(process.device)
        self._restore_and_wrap(opened)
        self.vote = StopVote(process)
        self.watch = NonFiniteWatch(self.config.max_nonfinite, run_dir, process)
        self.log = self._open_log(console)
        self.context = partial(
            StepContext,
            total_steps=self.config.total_steps,
            seed=self.config.seed,
            rank=process.rank,
            world_size=process.world_size,
            all_reduce_sum=process.all_reduce_sum,
            phase=self.log.timer.phase,
        )
        self.validation = Validation(
            objective,
            self.model,
            val_batches,
            config=self.config,
            run_dir=run_dir,
            process=process,
            vote=self.vote,
            log=self.log,
            context=self.context,
        )
        self.saved = opened.step
        self.last_rows: list[Row] = []

    def _restore_and_wrap(self, opened: Opened) -> None:
        config, process = self.config, self.process
        if opened.checkpoint is not None:
            load_model(opened.checkpoint, self.module)
        if config.activation_checkpointing:
            recompute_activations(self.module)
        if config.compile:
            compile_units(self.module)
        self.model = wrap(self.module, process, config.strategy)
        self.optimizer = TrainOptimizer(
            self.module.named_parameters(),
            self.settings.optim,
            total_steps=config.total_steps,
            global_batch=self.settings.global_batch,
            all_reduce_sum=partial(process.all_reduce_sum, what="norms"),
        )
        if opened.checkpoint is not None:
            load_optimizer(opened.checkpoint, self.optimizer)

    def _open_log(self, console: Console) -> RunLog:
        main, config = self.process.is_main, self.config
        plain = to_plain(self.settings)
        return RunLog(
            self.run_dir,
            self.process,
            every=config.log_every,
            learning_rates=self.optimizer.learning_rates,
            trackers=[TRACKERS[name](self.run_dir, self.start, plain) for name in config.trackers if main],
            display=ProgressDisplay(config.total_steps, self.start, console if main else None),
        )

    def train(self, train_batches: TrainBatches[BatchT]) -> TrainSummary:
        """Run the remaining steps, or until a stop is requested."""
        config, total = self.config, self.config.total_steps
        self._greet()
        stop = self._begin()
        if stop is not None or self.start >= total:
            return self._summary(self.start, stop)
        self.process.on_main(lambda: write_description(self.run_dir, self.objective.describe()))
        self.model.train()
        run_step = TrainStep(
            self.objective,
            self.model,
            self.optimizer,
            process=self.process,
            timer=self.log.timer,
            vote=self.vote,
            context=self.context,
            precision=self.precision,
        )
        data = DeviceBatches(train_batches(self.start), self.process.device)
        self.log.timer.restart()
        for step in range(self.start, total):
            with self.log.timer.phase("data"):
                batches = data.take(config.accumulate, step)
            metrics = run_step(step, batches)
            self.watch.saw(step, batches)
            self.log.add(step, metrics, batches)
            stop = self._after(step + 1, self._stop(step + 1))
            if stop is not None:
                return self._summary(step + 1, stop)
        return self._summary(total, None)

    def _greet(self) -> None:
        for problem in self.problems:
            self.log.display.line(f"damaged checkpoint, moved aside: {problem}")
        if self.start >= self.config.total_steps:
            self.log.display.line(f"{self.run_dir} is finished: all {self.start} steps are done")
        elif self.start:
            self.log.display.line(f"resuming {self.run_dir} after step {self.start}")
            if self.before != self.precision:
                self.log.display.line(
                    f"the steps before were computed in {self.before}, on this device they are in {self.precision}: "
                    "the run will not be the same bit by bit"
                )

    def _begin(self) -> str | None:
        """Run a validation that the last call left undone. Return a reason to stop before the first step, or None."""
        if self.validation.missing(self.start):
            self.log.display.line(f"the validation after step {self.start} is still to be done")
            if self.validation.run(self.start) == "stopped":
                return self._asked()
        return self._limit(self.start)

    def _asked(self) -> str:
        return self.vote.requested or "another rank"

    def _stop(self, done: int) -> str | None:
        """Return the reason to stop after `done` steps, or None."""
        if self.vote.agreed():
            return self._asked()
        return self._limit(done)

    def _limit(self, done: int) -> str | None:
        limit = self.config.stop_after
        return "stop_after" if limit is not None and limit <= done < self.config.total_steps else None

    def _after(self, done: int, stop: str | None) -> str | None:
        """Do what is due after `done` steps: metrics, checkpoint, validation. Return the reason to stop, or None."""
        config = self.config
        saving = stop is not None or done == config.total_steps or done % config.checkpoint_every == 0
        validating = self.validation.due(done)
        if saving or validating or self.log.full or done % config.log_every == 0:
            self.last_rows = self.log.flush()
            self.watch.check(self.last_rows)
        if saving:
            self._save(done)
        if validating and stop is None:
            try:
                stop = self._asked() if self.validation.run(done) == "stopped" else None
            except ValidationError:
                self._save(done)
                raise
        if stop is not None:
            self._save(done)
        if saving or validating:
            self.log.timer.restart()
        return stop

    def _save(self, done: int) -> None:
        """Write the checkpoint after `done` steps, unless this call has written it or resumed from it."""
        if self.saved == done:
            return
        lines = self.process.on_main(lambda: line_sizes(self.run_dir))
        save_checkpoint(
            self.run_dir,
            done,
            self.module,
            self.optimizer,
            notes={
                "world_size": self.process.world_size,
                "settings": to_plain(self.settings),
                "precision": self.precision,
                "lines": lines,
            },
            process=self.process,
            keep=Keep(last=self.config.keep_checkpoints, every=self.config.keep_every),
        )
        self.saved = done

    def _summary(self, done: int, stopped_by: str | None) -> TrainSummary:
        finished = done >= self.config.total_steps and not (stopped_by and self.validation.due(done))
        if stopped_by is not None and not finished:
            again = "the same command" + (" without stop_after" if stopped_by == "stop_after" else "")
            self.log.display.line(f"stopped by {stopped_by} after step {done}; {again} resumes from there")
        return TrainSummary(
            step=done,
            total_steps=self.config.total_steps,
            resumed_from=self.start,
            finished=finished,
            stopped_by=None if finished else stopped_by,
            skipped=self.watch.skipped,
            bad_images=self.log.bad_images,
            metrics=mean_of_rows(self.last_rows),
            validation=dict(self.validation.last),
            failed_validations=len(self.validation.failed),
        )
