"""Validation beside training: after the checkpoint, given up when asked to stop, never in the way of a run."""

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from engine_toys import LinearObjective, held_out_batches, run_toy

from codistill.engine.distributed import Process
from codistill.engine.rounds import HaltedError, Rounds
from codistill.engine.signals import StopVote
from codistill.engine.validation import BEGUN, ValidationError
from codistill.errors import DataError
from codistill.types import Batch


def lines(run: Path) -> list[dict]:
    path = run / "validation.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def steps_saved(run: Path) -> list[int]:
    return sorted(int(folder.name[-8:]) for folder in (run / "checkpoints").iterdir())


class Watched(LinearObjective):
    """Calls a function with the step of a validation and the number of each of its batches."""

    def __init__(self, at_batch: Callable[[int, int], None]) -> None:
        super().__init__()
        self.at_batch, self.begun = at_batch, 0

    def evaluate(self, model, batches, context):
        self.begun += 1

        def watched() -> Iterator[Batch]:
            for number, batch in enumerate(batches):
                self.at_batch(context.step, number)
                yield batch

        return super().evaluate(model, watched(), context)


def some_images() -> Iterable[Batch]:
    return held_out_batches(Process(), 5)


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> list[dict]:
    run = tmp_path_factory.mktemp("calm")
    run_toy(run, validate_every=4, held_out=some_images)
    return lines(run)


def test_a_due_checkpoint_is_written_before_validation_begins(tmp_path):
    def saved(step: int, number: int) -> None:
        assert steps_saved(tmp_path)[-1] == step

    summary = run_toy(tmp_path, objective=Watched(saved), validate_every=3, held_out=some_images)
    assert summary.finished and summary.failed_validations == 0


@pytest.mark.parametrize("checkpoint_every", [4, 100])
def test_a_request_to_stop_ends_validation_at_its_next_batch_and_it_is_done_on_resuming(
    tmp_path, calm, checkpoint_every
):
    seen = []

    def stop(step: int, number: int) -> None:
        seen.append((step, number))
        if (step, number) == (8, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    options = {"validate_every": 4, "held_out": some_images, "checkpoint_every": checkpoint_every}
    summary = run_toy(tmp_path, objective=Watched(stop), **options)
    assert (summary.step, summary.stopped_by, summary.finished) == (8, "SIGTERM", False)
    assert seen[-1] == (8, 1) and steps_saved(tmp_path)[-1] == 8
    assert [line["step"] for line in lines(tmp_path)] == [4]
    assert run_toy(tmp_path, **options).finished and lines(tmp_path) == calm


def test_a_run_that_is_asked_to_stop_begins_no_validation(tmp_path, calm):
    def stop(step: int, batch: Batch) -> Batch:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    objective = Watched(lambda step, number: None)
    summary = run_toy(tmp_path, objective=objective, change=stop, validate_every=4, held_out=some_images)
    assert summary.step == 4 and objective.begun == 0
    run_toy(tmp_path, validate_every=4, held_out=some_images)
    assert lines(tmp_path) == calm


def test_a_run_whose_last_validation_is_cut_short_is_not_finished_until_it_is_done(tmp_path, calm):
    def stop(step: int, number: int) -> None:
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    summary = run_toy(tmp_path, objective=Watched(stop), validate_every=4, held_out=some_images)
    assert (summary.step, summary.finished, summary.stopped_by) == (12, False, "SIGTERM")
    summary = run_toy(tmp_path, validate_every=4, held_out=some_images)
    assert summary.finished and summary.validation["error"] == calm[-1]["error"]
    assert lines(tmp_path) == calm


def test_the_validation_of_a_checkpoint_stays_and_later_ones_are_made_again(tmp_path, calm):
    def fail(step: int, batch: Batch) -> Batch:
        if step == 9:
            raise OSError("gone")
        return batch

    options = {"validate_every": 4, "held_out": some_images, "checkpoint_every": 4}
    with pytest.raises(OSError, match="gone"):
        run_toy(tmp_path, change=fail, **options)
    assert lines(tmp_path) == calm[:2]
    (tmp_path / "validation.jsonl").open("a").write('{"step": 8, "err')
    objective = Watched(lambda step, number: None)
    assert run_toy(tmp_path, objective=objective, **options).resumed_from == 8
    assert objective.begun == 1 and lines(tmp_path) == calm


def fail_at(step: int, error: BaseException) -> Callable[[int, int], None]:
    def at_batch(now: int, number: int) -> None:
        if now == step:
            raise error

    return at_batch


@pytest.mark.parametrize("error", [DataError("a broken image"), MemoryError("20 GB"), KeyError("a bug")])
def test_a_failing_validation_is_reported_and_training_continues(tmp_path, capsys, calm, error):
    objective = Watched(fail_at(8, error))
    summary = run_toy(tmp_path, objective=objective, validate_every=4, held_out=some_images)
    assert summary.finished and summary.failed_validations == 1
    said = capsys.readouterr().err
    assert "the validation after step 8 failed:" in said and str(error.args[0]) in said
    assert lines(tmp_path) == [calm[0], calm[2]]
    assert not (tmp_path / BEGUN).exists()


def test_a_failing_validation_ends_the_run_where_that_was_asked_for_and_loses_no_step(tmp_path):
    objective = Watched(fail_at(8, MemoryError("20 GB")))
    options = {"validate_every": 4, "held_out": some_images, "checkpoint_every": 100}
    with pytest.raises(ValidationError, match=r"after step 8 failed: [\s\S]*20 GB[\s\S]*= reported"):
        run_toy(tmp_path, objective=objective, failed_validation="fatal", **options)
    assert steps_saved(tmp_path) == [8]
    assert run_toy(tmp_path, **options).resumed_from == 8


def test_held_out_data_that_cannot_be_opened_is_a_failing_validation(tmp_path, capsys):
    def nothing() -> Iterable[Batch]:
        raise DataError("the disk with the held-out images is away")

    assert run_toy(tmp_path, validate_every=6, held_out=nothing).failed_validations == 2
    assert "held-out images is away" in capsys.readouterr().err


class Killed(BaseException):
    """As if the process ended here."""


def test_a_validation_that_ends_the_process_is_passed_over_after_two_times(tmp_path, capsys, calm):
    options = {"validate_every": 4, "held_out": some_images, "checkpoint_every": 4}
    for _ in range(2):
        with pytest.raises(Killed):
            run_toy(tmp_path, objective=Watched(fail_at(4, Killed())), **options)
        assert steps_saved(tmp_path) == [4]
    summary = run_toy(tmp_path, objective=Watched(fail_at(4, Killed())), **options)
    assert summary.finished and summary.failed_validations == 1
    assert "step 4 ended this process 2 times; it is skipped" in capsys.readouterr().err
    assert lines(tmp_path) == calm[1:]


def test_nothing_to_measure_is_said(tmp_path, capsys):
    summary = run_toy(tmp_path, validate_every=12, held_out=lambda: held_out_batches(Process(), 0))
    assert summary.finished and not lines(tmp_path)
    assert "measured nothing" in capsys.readouterr().err


def test_a_batch_after_a_sum_over_ranks_is_refused():
    rounds = Rounds(Process(), StopVote(Process()))
    batches = rounds.batches(some_images())
    next(batches)
    rounds.sum(next(iter(some_images())).images)
    with pytest.raises(TypeError, match="sum once, after the last one"):
        next(batches)


def test_a_halted_validation_stays_halted():
    vote = StopVote(Process())
    rounds = Rounds(Process(), vote)
    vote.requested = "SIGTERM"
    for _ in range(2):
        with pytest.raises(HaltedError):
            next(rounds.batches(some_images()))
    with pytest.raises(HaltedError):
        rounds.end()
    assert rounds.halted == "stopped"


def test_batches_are_made_outside_autocast(tmp_path):
    """Stored tokens are fp16, which autocast to bf16 refuses to join on a CPU."""
    modes: list[bool] = []

    def stored() -> Iterator[Batch]:
        for batch in some_images():
            modes.append(torch.is_autocast_enabled("cpu"))
            torch.cat((batch.images.half(), batch.images.half()))
            yield batch

    run_toy(tmp_path, validate_every=4, held_out=stored, precision="bf16")
    assert modes and not any(modes)
    assert [line["step"] for line in lines(tmp_path)] == [4, 8, 12]
