"""The validations of a run: after which steps, on which ranks, and what happens if one fails.

A validation changes nothing in the run. If the run is asked to stop, the validation is abandoned at the next batch and
computed again when the run resumes. A validation that raises an error is reported. One that ends the process (killed,
out of memory) is tried once more by the resumed run, then skipped: `validating.json` counts the attempts.
"""

import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Literal

from torch import nn

from codistill.engine.distributed import Process
from codistill.engine.lines import cut_after_step
from codistill.engine.logging import VALIDATION, RunLog
from codistill.engine.objective import BatchT, Objective, StepContext, ValBatches
from codistill.engine.parallel import evaluating, gathered
from codistill.engine.prefetch import DeviceBatches
from codistill.engine.rounds import HaltedError, Rounds
from codistill.engine.settings import EngineConfig
from codistill.engine.signals import StopVote
from codistill.errors import CodistillError
from codistill.files.json_files import read_json
from codistill.files.writing import remove_quietly, write_atomic
from codistill.nn.precision import autocast

Ending = Literal["done", "stopped", "failed"]
BEGUN = "validating.json"
_TIMES = 2


class ValidationError(CodistillError, RuntimeError):
    """A validation failed in a run with `failed_validation = fatal`."""


class Validation(Generic[BatchT]):
    """The validations of one call of `train`.

    Args:
        objective, model: the objective whose `evaluate` is called, and its wrapped module.
        batches: called for each validation; gives this rank's held-out batches. None: no validation.
        config: says how often to validate.
        run_dir: folder of the run.
        process, vote: of this call; a request to stop ends a validation before its next batch.
        log: receives numbers and messages.
        context: creates the context of a step, from its keywords.
    """

    def __init__(
        self,
        objective: Objective[BatchT],
        model: nn.Module,
        batches: ValBatches[BatchT] | None,
        *,
        config: EngineConfig,
        run_dir: Path,
        process: Process,
        vote: StopVote,
        log: RunLog,
        context: Callable[..., StepContext],
    ) -> None:
        self._objective, self._model, self._batches = objective, model, batches
        self._config, self._run_dir = config, run_dir
        self._process, self._vote, self._log, self._context = process, vote, log, context
        self.last: Mapping[str, float] = {}
        self.failed: list[str] = []

    def due(self, done: int) -> bool:
        """Whether a validation follows after `done` steps."""
        every = self._config.validate_every
        return (
            self._batches is not None
            and every > 0
            and (done == self._config.total_steps or (done > 0 and done % every == 0))
        )

    def missing(self, done: int) -> bool:
        """Whether the validation after the step from which the run resumes is due and was not done."""
        if not self.due(done):
            return False
        return self._process.on_main(lambda: cut_after_step(self._run_dir / VALIDATION, done)) != done

    def run(self, done: int) -> Ending:
        """Validate after `done` steps. Every rank calls this.

        Raises:
            ValidationError: if it failed and the config says that this is fatal.
        """
        if not self._process.on_main(lambda: self._begin(done)):
            self._report(
                done, f"ended this process {_TIMES} times; it is skipped. Does it have enough memory?"
            )
            return "failed"
        rounds = Rounds(self._process, self._vote)
        error = self._evaluate(done, rounds)
        self.last = {} if rounds.halted else self.last
        self._log.validation(done, self.last)
        if not self.last and not rounds.halted:
            self._log.display.line(
                f"the validation after step {done} measured nothing: no held-out image was usable"
            )
        self._process.on_main(lambda: remove_quietly(self._run_dir / BEGUN))
        if rounds.halted == "failed":
            self._fail(done, error)
        return rounds.halted or "done"

    def _evaluate(self, done: int, rounds: Rounds) -> Exception | None:
        """Compute the numbers; return the error of this rank, if any."""
        assert self._batches is not None
        device = self._process.device
        context = self._context(step=done, all_reduce_sum=rounds.sum)
        with gathered(self._model), evaluating(self._model), autocast(device, self._config.precision):
            try:
                batches = rounds.batches(DeviceBatches(self._batches(), device))
                self.last = self._objective.evaluate(self._model, batches, context)
                rounds.end()
            except HaltedError:
                return None
            except Exception as error:  # any error: training does not depend on it
                rounds.fail()
                return error.with_traceback(None) if isinstance(error, CodistillError) else error
        return None

    def _begin(self, done: int) -> bool:
        """Record that this validation begins; return False if it was begun too often without an end."""
        path = self._run_dir / BEGUN
        begun = read_json(path) if path.is_file() else {}
        times = int(begun.get("times", 0)) if begun.get("step") == done else 0
        if times >= _TIMES:
            return False
        write_atomic(path, json.dumps({"step": done, "times": times + 1}) + "\n")
        return True

    def _fail(self, done: int, error: Exception | None) -> None:
        by_rank = self._process.gather_objects(_text(error) if error else None)
        texts = [f"on rank {rank}: {text}" for rank, text in enumerate(by_rank) if text]
        if self._process.world_size == 1:
            texts = [text for text in by_rank if text]
        said = texts[0] + (f" (and on {len(texts) - 1} more ranks)" if len(texts) > 1 else "")
        if self._config.failed_validation == "fatal":
            raise ValidationError(
                f"the validation after step {done} failed: {said}. The steps are saved: the same command tries it "
                "again, and with failed_validation = reported it trains on without."
            ) from error
        self._report(done, f"failed: {said}\nTraining continues (failed_validation = fatal would end it).")

    def _report(self, done: int, text: str) -> None:
        self.failed.append(f"the validation after step {done} {text}")
        self._log.display.line(self.failed[-1])


def _text(error: Exception) -> str:
    """The text of a `CodistillError`; for any other error, its traceback."""
    if isinstance(error, CodistillError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()
