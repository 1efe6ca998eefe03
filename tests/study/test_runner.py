"""Cells done once each: failing, blocked, killed and taken over, stopped and resumed, by two processes."""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from study_toys import begun, record, runner, steps, training

from codistill.errors import CheckpointError, WriteError
from codistill.study.cells import Cell
from codistill.study.logs import last_lines, last_said
from codistill.study.places import StudyFolder
from codistill.study.records import add_attempt, attempts, read_cell, read_failure
from codistill.study.shown import shown_flops, shown_time

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


def wait_for(found: Path) -> None:
    end = time.monotonic() + 60
    while not found.exists():
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_a_bad_cell_is_said_and_stops_only_what_needs_it(folder: StudyFolder) -> None:
    bad, good = training(folder, "bad", -1), training(folder, "good", 2)
    after = training(folder, "after", 2, needs=(bad.name,))
    said: list[str] = []
    found = runner(folder, [bad, after, good], said.append).run()
    assert (found.finished, found.failed, found.waiting) == ((good.name,), (bad.name,), (after.name,))
    assert any("FAILED with exit code 2: codistill toy: a goal below 0" in text for text in said)
    failure = read_failure(folder, bad.name)
    assert failure is not None and failure["said"] == "codistill toy: a goal below 0"
    assert read_cell(folder, good.name) is not None and not after.out.exists()
    mended = training(folder, "bad", 1)
    again = runner(folder, [mended, after, good]).run()
    assert len(again.finished) == 3 and begun(good) == 1
    assert read_failure(folder, bad.name) is None


def test_a_command_that_leaves_nothing_is_no_finished_cell(folder: StudyFolder) -> None:
    cell = training(folder, "row", 1)
    empty = Cell(**{**cell.__dict__, "kind": "evaluation", "name": "row/0/depth", "what": "depth"})
    found = runner(folder, [empty]).run()
    assert found.failed == ("row/0/depth",)
    assert "per_image.npz" in (read_failure(folder, empty.name) or {})["said"]


def _in_folder(root: Path, cells: list[Cell], stale: float) -> None:
    runner(StudyFolder(root), cells, stale=stale).run()


def test_two_processes_do_every_cell_once(folder: StudyFolder) -> None:
    cells = [training(folder, f"row{number}", 3, pause=0.03) for number in range(5)]
    cells.append(training(folder, "last", 2, needs=tuple(cell.name for cell in cells)))
    both = [FORK.Process(target=_in_folder, args=(folder.root, cells, 60.0)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert all(steps(cell) == list(range(1, len(steps(cell)) + 1)) for cell in cells)
    assert [begun(cell) for cell in cells] == [1] * 6
    assert not list(folder.claims.glob("*.0"))


def test_what_a_killed_process_held_is_taken_over_and_resumed(folder: StudyFolder) -> None:
    cell = training(folder, "row", 40, pause=0.05)
    killed = FORK.Process(target=_in_folder, args=(folder.root, [cell], 60.0))
    killed.start()
    wait_for(cell.out / "count")
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(60)
    said: list[str] = []
    found = runner(folder, [cell], said.append).run()
    assert found.finished == (cell.name,)
    assert any("taken over" in text and "has ended" in text for text in said)
    counted = steps(cell)
    assert (
        sorted(set(counted)) == list(range(1, 41)) and len(counted) <= 41
    )  # one step at most was done again
    assert [one["ended"] for one in attempts(folder, cell.name)] == ["ended without a word", "finished"]


def test_a_signal_is_passed_on_and_the_same_call_resumes(folder: StudyFolder) -> None:
    cell, later = training(folder, "row", 60, pause=0.05), training(folder, "later", 1)

    def signalled() -> None:
        wait_for(cell.out / "count")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=signalled).start()
    found = runner(folder, [cell, later]).run()
    assert found.stopped == "SIGTERM" and found.waiting == (cell.name, later.name)
    assert read_failure(folder, cell.name) is None and not later.out.exists()
    quick = training(folder, "row", 60)
    assert runner(folder, [quick, later]).run().finished == (cell.name, later.name)
    assert steps(cell) == list(range(1, 61))


def test_a_training_whose_export_is_gone_is_done_again_only_where_it_is_needed(folder: StudyFolder) -> None:
    cell = training(folder, "row", 1)
    runner(folder, [cell]).run()
    (cell.out / "export" / "encoder.safetensors").unlink()
    (cell.out / "export").rmdir()
    runner(folder, [cell]).run()
    assert begun(cell) == 1
    runner(folder, [cell, training(folder, "next", 1, needs=(cell.name,))]).run()
    assert begun(cell) == 2


def _remove(folder: StudyFolder, cell: Cell) -> None:
    """What a refusal of other options advises."""
    shutil.rmtree(folder.cell(cell.name))
    shutil.rmtree(cell.out)


def test_what_read_a_student_that_is_trained_anew_is_done_again_in_the_same_call(folder: StudyFolder) -> None:
    base = training(folder, "base", 2)
    after = training(folder, "after", 3, start=base)
    last = training(folder, "last", 1, start=after)
    runner(folder, [base, after, last]).run()
    before = record(folder, after)["contents"]
    _remove(folder, base)
    said: list[str] = []
    longer = training(folder, "base", 4)
    found = runner(folder, [longer, after, last], said.append).run()
    assert found.finished == (base.name, after.name, last.name)
    assert [text for text in said if "done again" in text] == [
        f"{after.name}: done again: a student that it reads was trained anew since"
    ]
    assert begun(last) == 1  # `after` has counted to the same number
    assert record(folder, after)["contents"] != before
    _remove(folder, base)
    bad = training(folder, "after", -1, start=base)  # its earlier result is of a student that is gone
    assert runner(folder, [training(folder, "base", 5), bad, last]).run().failed == (after.name,)
    assert read_cell(folder, after.name) is None


def test_a_student_that_a_new_cell_needs_again_makes_the_others_old(folder: StudyFolder) -> None:
    base = training(folder, "base", 2)
    after = training(folder, "after", 3, start=base)
    runner(folder, [base, after]).run()
    shutil.rmtree(base.out)  # only `cells` was kept
    assert runner(folder, [base, after]).run().finished == (base.name, after.name)
    assert not base.out.exists()
    said: list[str] = []
    other = training(folder, "base", 4)  # on another machine, the same command gives another student
    runner(folder, [other, after, training(folder, "new", 1, start=base)], said.append).run()
    assert f"{after.name}: done again: a student that it reads was trained anew since" in said


def test_the_cost_of_a_cell_that_is_begun_anew_is_that_of_its_new_attempts(folder: StudyFolder) -> None:
    cell = training(folder, "row", 1)
    runner(folder, [cell]).run()
    _remove(folder, cell)
    runner(folder, [cell]).run()
    assert len(attempts(folder, cell.name)) == 1


def test_attempts_survive_a_full_disk_and_damage_is_said(folder: StudyFolder) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX")
    add_attempt(folder, "row/0/train", 1.0, "stopped")
    path, (soft, hard) = folder.attempts("row/0/train"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, hard))
    try:
        with pytest.raises(WriteError):
            add_attempt(folder, "row/0/train", 2.0, "stopped")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one["seconds"] for one in attempts(folder, "row/0/train")] == [1.0]
    path.write_text('{"seconds": 1.0, "en')
    with pytest.raises(CheckpointError, match="Delete it"):
        attempts(folder, "row/0/train")


def test_the_error_of_the_last_attempt_is_found(folder: StudyFolder) -> None:
    log = folder.log("row/0/train")
    log.parent.mkdir(parents=True)
    log.write_text(
        "\n$ codistill fit a\ncodistill fit: old\n\n$ codistill fit a\nTraceback\n  x\nValueError: y\n"
    )
    assert last_lines(log) == ["Traceback", "x", "ValueError: y"]
    log.write_bytes(b"step 1\rstep 2 \x1b[2K\n\n")
    assert last_said(log) == "step 2" and last_said(log.with_suffix(".none")) == ""
    assert last_lines(log.with_suffix(".none")) == []


def test_times_and_operations_are_said_in_fitting_units() -> None:
    assert [shown_flops(count) for count in (3.04e9, 2e12, 1.27e16)] == [
        "3.04 GFLOP",
        "2 TFLOP",
        "12.7 PFLOP",
    ]
    assert [shown_time(seconds) for seconds in (12, 750, 9000)] == ["12 s", "12.5 min", "2.5 h"]


def test_only_trainings_get_the_folder_of_targets(folder: StudyFolder, tmp_path: Path) -> None:
    cell = training(folder, "row", 1)
    score = Cell(**{**cell.__dict__, "kind": "evaluation", "name": "row/0/depth", "what": "depth"})
    runner(folder, [cell, score], target_cache=tmp_path / "targets").run()
    words = f"--target-cache {tmp_path / 'targets'}"
    assert words in folder.log(cell.name).read_text() and words not in folder.log(score.name).read_text()
