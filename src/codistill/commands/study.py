"""`codistill study run|tables|show`: runs a study of rows x seeds x evaluations, and makes tables of its results."""

import argparse
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from codistill.commands.config_flags import with_flags
from codistill.commands.parsers.evaluate import parse as parse_evaluate
from codistill.commands.parsers.study import parse
from codistill.commands.study_show import show_study
from codistill.commands.study_tables import write_study_tables
from codistill.commands.task_config import resolve_fit
from codistill.engine.distributed import DeviceChoice, choose_device
from codistill.errors import ConfigError, StoppedError, unknown_name
from codistill.files.config import load_yaml, save_yaml
from codistill.files.writing import check_writable, make_directory, refuse_file
from codistill.study.asked import check_asked
from codistill.study.cells import Cell, cells_of
from codistill.study.config import WORLDS, StudyConfig
from codistill.study.costs import estimates, facts_of
from codistill.study.finished import is_finished
from codistill.study.jobs import RunOptions
from codistill.study.places import StudyFolder
from codistill.study.records import changes, read_cell
from codistill.study.registry import find_study, shipped_studies
from codistill.study.runner import Outcome, Runner
from codistill.study.shown import shown_time
from codistill.tasks.registry import find_task

FAILED = 1
"""Exit code if cells failed."""


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.list:
        for name, study in shipped_studies().items():
            print(f"{name:<14} {study.about}")
        return 0
    if arguments.command == "tables":
        return write_study_tables(arguments.folder, arguments.out, ["study", *argv])
    if arguments.command == "show":
        return show_study(arguments.folder, follow=arguments.follow, resolve=resolve_evaluation)
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    refuse_file(arguments.out)
    if arguments.target_cache is not None:
        check_writable(arguments.target_cache)
    folder, study = StudyFolder(arguments.out), find_study(arguments.study, arguments.set)
    if folder.study.is_file() and (other := load_yaml(StudyConfig, folder.study).name) != study.name:
        raise ConfigError(f"{folder.root} holds the study {other!r}, not {study.name!r}: take another --out")
    for row in arguments.only:
        if row not in study.rows:
            raise ConfigError(f"--only: {unknown_name('row', row, study.rows)}")
    for seed in arguments.seed:
        if seed not in study.seeds:
            raise ConfigError(f"--seed {seed}: the study's seeds are {', '.join(map(str, study.seeds))}")
    check_asked(study)
    cells = cells_of(study, folder, resolve_evaluation, arguments.only, tuple(dict.fromkeys(arguments.seed)))
    # Tables put the selected cells beside those that are finished already.
    there = [row for row in study.rows if row in arguments.only or folder.cell(row).is_dir()]
    rows = there if arguments.only else ()
    check_finished(cells_of(study, folder, resolve_evaluation, rows), folder)
    if arguments.dry_run:
        rate = None if arguments.gflops is None else arguments.gflops * 1e9
        _print_plan(study, cells, folder, rate, arguments.device)
        return 0
    choose_device(arguments.device)  # refused once, not by every cell
    make_directory(folder.root)
    save_yaml(study, folder.study)
    console = Console(stderr=True)
    runner = Runner(
        folder,
        cells,
        RunOptions(
            jobs=arguments.jobs,
            device=arguments.device,
            workers=arguments.workers,
            stale=arguments.stale_after,
            keep_features=arguments.keep_features,
            target_cache=arguments.target_cache,
        ),
        partial(facts_of, folder=folder, device=arguments.device, cached=arguments.target_cache is not None),
        lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True),
    )
    return _told(runner.run(), runner.failed)


def _told(outcome: Outcome, why: Mapping[str, str]) -> int:
    """Print how a call ended; returns its exit code."""
    print(f"{len(outcome.finished)} cells finished", end="")
    print(f", {len(outcome.failed)} failed, {len(outcome.waiting)} left" if outcome.failed else "")
    for name in outcome.failed:
        print(f"  {name}: {why[name]}")
    if outcome.stopped:
        raise StoppedError(
            f"stopped by {outcome.stopped} with {len(outcome.waiting)} cells left: the same command resumes"
        )
    return FAILED if outcome.failed else 0


def resolve_evaluation(words: Sequence[str]) -> Mapping[str, Any]:
    """The configs that an evaluation's command line gives for fit and test, and what is scored; without paths.

    Raises:
        ConfigError: if the command line is wrong.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            asked = parse_evaluate(list(words[1:]))
            task = find_task(asked.task.name)
            test = with_flags(task.test(), asked.flags.testing, f"codistill evaluate {task.name}")
            own = asked.own
            fitted = task.fit is not None and own.baseline is None
            fit = resolve_fit(task, asked, own.data) if fitted else None
    except SystemExit as stop:
        boxed = (line.strip("│╭╮╰╯─ ") for line in said.getvalue().splitlines())
        raise ConfigError(" ".join(filter(None, boxed)) or "wrong options") from stop
    found: dict[str, Any] = {"task": task.name, "test": test, "data": own.data, "split": own.split}
    if fit is not None:
        found["fit"] = fit
    elif asked.flags.features:
        found["features"] = list(asked.flags.features)
    return found | {"limit": own.limit, "baseline": own.baseline}


def check_finished(cells: Sequence[Cell], folder: StudyFolder) -> None:
    """Refuse finished cells that were computed with other options than those of the present study.

    Raises:
        ConfigError: if there is such a cell; the text says the first differences of each, and what to do.
    """
    wrong = []
    for cell in cells:
        record = read_cell(folder, cell.name)
        if record is not None and (found := changes(cell, record)):
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            wrong.append(f"  {cell.name}: {'; '.join(found[:3])}{more}")
    if wrong:
        listed = "\n".join(wrong[:12])
        raise ConfigError(
            f"{len(wrong)} finished cells were made with other options than the study has now (old → new):\n{listed}\n"
            f"Give the options back, take another --out, or delete {folder.root}/cells/CELL and "
            f"{folder.root}/runs/CELL of those to do them anew."
        )


def _print_plan(
    study: StudyConfig,
    cells: Sequence[Cell],
    folder: StudyFolder,
    rate: float | None,
    device: DeviceChoice,
) -> None:
    """Print what is left to do: one line for all seeds of a row's training or evaluation."""
    left = [cell for cell in cells if not is_finished(cell, cells, folder)]
    expected = estimates(study, cells, folder, rate, device)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in left:
        groups.setdefault((cell.row or WORLDS, cell.what), []).append(cell)
    table = Table(title=f"{study.name}: {len(left)} of {len(cells)} cells are left")
    for column in ("row", "what", "cells", "each", "from"):
        table.add_column(column)
    for (row, what), same in groups.items():
        one = expected[same[0].name]
        each = "?" if one.seconds is None else shown_time(one.seconds)
        table.add_row(row, what, str(len(same)), each, one.why)
    Console().print(table)
    known = [one.seconds for cell in left if (one := expected[cell.name]).seconds is not None]
    unknown = len(left) - len(known)
    more = f", and {unknown} cells whose time is not known (none like them is finished)" if unknown else ""
    print(f"{sum(known) / 3600:.2f} hours in all, one cell at a time{more}")
    if again := [cell.name for cell in left if read_cell(folder, cell.name) is not None]:
        print(
            f"{len(again)} of them were finished and are done again, because files of theirs that others need are "
            f"missing, or because a student that they read was trained anew: {', '.join(again)}"
        )
