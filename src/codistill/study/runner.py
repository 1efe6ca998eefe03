"""Run a study's cells: each as a separate process, in order, as many at a time as asked for.

A cell is claimed before it starts (`claims.py`) and recorded after it has ended (`records.py`), so several runners can
work in one folder. A cell that fails is reported and does not stop the others; cells that need it wait for another
call. A signal is passed on to the commands: they save their state, and the same call resumes them.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from codistill.errors import CodistillError, StoppedError
from codistill.files.config import save_yaml
from codistill.files.writing import make_directory, remove_quietly
from codistill.study.cells import Cell, recipe_file
from codistill.study.claims import Claim, claim
from codistill.study.finished import is_finished
from codistill.study.jobs import Job, RunOptions, begin
from codistill.study.logs import last_lines
from codistill.study.places import StudyFolder
from codistill.study.records import (
    add_attempt,
    attempts,
    from_other_row,
    note_failure,
    read_cell,
    read_failure,
    remove_record,
    write_cell,
)
from codistill.study.shown import shown_time

FINISHED = "finished"
"""How the last attempt at a finished cell ended."""
POLL = 0.2
"""Seconds between two checks of running cells."""
_STOPPED = StoppedError.exit_code

Facts = Callable[[Cell, float], Mapping[str, Any]]
"""Maps a finished cell and its seconds to the facts that are recorded: cost, results, provenance."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a call.

    Attributes:
        finished, failed, waiting: names of cells. Waiting are those that are neither finished nor failed, because they
            need a cell that failed, or because this call was stopped.
        stopped: the signal that ended the call early; "" for none.
    """

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    waiting: tuple[str, ...]
    stopped: str = ""


@dataclass
class Runner:
    """Runs the cells of a study.

    Attributes:
        folder: of the study.
        cells: in order, including all that they need.
        options: how to run them.
        facts: gives the facts that are recorded for a finished cell.
        say: prints a line.
        program: the program that gets a cell's words as arguments.
        waiting: seconds between two checks of cells that other processes hold.
        jobs, done, failed, stopped: state: running cells, finished cells, reasons of failed cells, the signal received.
    """

    folder: StudyFolder
    cells: Sequence[Cell]
    options: RunOptions
    facts: Facts
    say: Callable[[str], None]
    program: tuple[str, ...] = (sys.executable, "-m", "codistill")
    waiting: float = 3.0
    jobs: list[Job] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    _before: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Run all cells that are not finished, and wait for cells that other processes run."""
        self._before = {c.name: failure for c in self.cells if (failure := self._failure(c))}
        with self._listening():
            while True:
                self._reap()
                if self.stopped:
                    for job in self.jobs:
                        job.stop()
                    if not self.jobs:
                        break
                elif not self._begin() and not self.jobs and not self._left():
                    break
                time.sleep(POLL if self.jobs or self.stopped else self.waiting)
        open_cells = [cell.name for cell in self.cells if cell.name not in self.done]
        return Outcome(
            finished=tuple(cell.name for cell in self.cells if cell.name in self.done),
            failed=tuple(name for name in open_cells if name in self.failed),
            waiting=tuple(name for name in open_cells if name not in self.failed),
            stopped=self.stopped,
        )

    def _left(self) -> list[Cell]:
        """Cells that can still be run by any process: not finished, not failed, and not waiting for one that failed."""
        return [cell for cell in self.cells if self._is_open(cell) and not self._is_blocked(cell)]

    def _is_open(self, cell: Cell) -> bool:
        return cell.name not in self.done and cell.name not in self.failed

    def _is_blocked(self, cell: Cell) -> bool:
        by_name = {one.name: one for one in self.cells}
        needed = [by_name[name] for name in cell.needs if name in by_name]
        return any(one.name in self.failed or self._is_blocked(one) for one in needed)

    def _begin(self) -> bool:
        """Start the cells that can be started; return whether any was."""
        begun = False
        running = {job.cell.name for job in self.jobs}
        for cell in self.cells:
            if len(self.jobs) >= self.options.jobs:
                break
            if not self._is_open(cell) or cell.name in running or self._is_finished(cell):
                continue
            if not all(name in self.done for name in cell.needs):
                continue
            if self._failed_elsewhere(cell):
                continue
            held = claim(self.folder.claims, cell.name, self.options.stale)
            if held is None:
                continue
            if self._is_finished(cell):  # finished by the process that held it until now
                held.release()
                continue
            self._start(cell, held)
            begun = True
        return begun

    def _is_finished(self, cell: Cell) -> bool:
        """Whether a cell is finished. This is known only once the trainings are, whose students it reads."""
        read = [one.name for one in self.cells if one.kind == "training" and one.name in cell.needs]
        is_open = cell.name not in self.done and self.done.issuperset(read)
        if is_open and is_finished(cell, self.cells, self.folder):
            self.done.add(cell.name)
        return cell.name in self.done

    def _failure(self, cell: Cell) -> dict[str, Any] | None:
        path = self.folder.failure(cell.name)
        failure = read_failure(self.folder, cell.name)
        return None if failure is None else {**failure, "written": path.stat().st_mtime_ns}

    def _failed_elsewhere(self, cell: Cell) -> bool:
        """Whether the cell failed in another process during this call. Earlier failures are tried again."""
        failure = self._failure(cell)
        if failure is None or failure == self._before.get(cell.name):
            return False
        self.failed[cell.name] = str(failure["said"])
        self.say(f"{cell.name}: failed elsewhere: {failure['said']}")
        return True

    def _start(self, cell: Cell, held: Claim) -> None:
        if held.taken_from:
            self.say(f"{cell.name}: taken over, since {held.taken_from}")
            add_attempt(self.folder, cell.name, held.lost_seconds, "ended without a word")
        elif (earlier := attempts(self.folder, cell.name)) and earlier[-1]["ended"] == FINISHED:
            remove_quietly(self.folder.attempts(cell.name))  # the cell is begun anew, its costs are as well
        record = read_cell(self.folder, cell.name)
        if record is not None and from_other_row(cell, record):
            self.say(f"{cell.name}: done again: a student that it reads was trained anew since")
            remove_quietly(cell.out)
            remove_record(self.folder, cell.name)
        if cell.recipe is not None:
            path = recipe_file(self.folder, cell.row, cell.seed)
            make_directory(path.parent)
            save_yaml(cell.recipe, path)
        self.say(f"{cell.name}: begun")
        log = self.folder.log(cell.name)
        self.jobs.append(begin(cell, held, log, self.options, self.program))

    def _reap(self) -> None:
        for job in list(self.jobs):
            code = job.process.poll()
            if code is None:
                if not job.claim.beat() and not job.asked_to_stop:
                    self.say(f"{job.cell.name}: another process has taken it over: stopping here")
                    job.stop()
                continue
            self.jobs.remove(job)
            self._ended(job, code)

    def _ended(self, job: Job, code: int) -> None:
        cell, seconds = job.cell, job.claim.seconds
        stopped = job.asked_to_stop or code == _STOPPED
        ended = FINISHED if code == 0 else "stopped" if stopped else f"failed ({code})"
        add_attempt(self.folder, cell.name, seconds, ended)
        if code == 0:
            total = sum(one["seconds"] for one in attempts(self.folder, cell.name))
            if not self.options.keep_features:
                remove_quietly(cell.out / "head" / "cache")
            try:
                write_cell(self.folder, cell, self.facts(cell, total))
            except CodistillError as error:  # exit code 0, but the command's files are not as expected
                self._failed(cell, code, str(error))
            else:
                self.done.add(cell.name)
                self.say(f"{cell.name}: finished in {shown_time(total)}")
        elif stopped:
            self.say(f"{cell.name}: stopped; the same command resumes it")
            if not job.asked_to_stop:
                self.failed[cell.name] = "stopped by a signal of its own"
        else:
            self._failed(cell, code, " ".join(last_lines(self.folder.log(cell.name))))
        job.claim.release()

    def _failed(self, cell: Cell, code: int, said: str) -> None:
        note_failure(self.folder, cell, code, said)
        self.failed[cell.name] = said
        log = self.folder.log(cell.name)
        self.say(f"{cell.name}: FAILED with exit code {code}: {said} (all of it: {log})")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def request(number: int, frame: FrameType | None) -> None:
            self.stopped = self.stopped or signal.Signals(number).name

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, request) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
