"""`codistill study show DIR [--follow]`: one table of the finished, running, failed and remaining cells."""

import time
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from codistill.errors import ConfigError
from codistill.study.cells import Resolve, cells_of
from codistill.study.config import TRAINING, WORLDS
from codistill.study.progress import MARKS, CellState, Progress, progress_of
from codistill.study.results import open_results
from codistill.study.shown import shown_time

EVERY = 3.0
"""Seconds between two updates."""


def show_study(folder: Path, *, follow: bool, resolve: Resolve) -> int:
    """Print the state of a study's folder; with `follow`, repeat it until nothing is left.

    Args:
        folder: of the study.
        follow: whether to repeat it.
        resolve: checks an evaluation's arguments.
    """
    results = open_results(folder)
    try:
        cells = cells_of(results.study, results.folder, resolve)
    except ConfigError as error:
        print(f"finished cells are not checked for whether they will be done again: {error}")
        cells = []

    def look() -> Progress:
        return progress_of(results.study, results.folder, cells)

    now = look()
    if not follow:
        Console().print(_shown(results.study.name, now))
        return 0
    with Live(_shown(results.study.name, now), refresh_per_second=2) as live:
        while now.counts["left"] or now.counts["running"]:
            time.sleep(EVERY)
            now = look()
            live.update(_shown(results.study.name, now))
    return 0


def _shown(name: str, progress: Progress) -> RenderableType:
    counts = progress.counts
    parts = [f"{counts[state]} {state}" for state in MARKS if counts[state]]
    head = f"{name}: {', '.join(parts)} of {len(progress.cells)} cells"
    if counts["finished"] < len(progress.cells):
        head += f"; about {shown_time(progress.expected)} of work are left"
        head += f", and {progress.unknown} cells like none that is finished" if progress.unknown else ""
    running = [_running(cell) for cell in progress.cells if cell.state == "running"]
    failed = [Text(f"{cell.name} failed: {cell.said}") for cell in progress.cells if cell.state == "failed"]
    legend = "  ".join(f"{mark} {state}" for state, mark in MARKS.items())
    return Group(head, _grid(progress), Text(f"one mark a seed: {legend}", style="dim"), *running, *failed)


def _running(cell: CellState) -> Text:
    holder = cell.holder or {}
    who = f"{str(holder.get('machine', '?')).split(' ')[0]}, process {holder.get('process', '?')}"
    return Text(f"{cell.name} ({who}, last sign {holder.get('age', 0):.0f} s ago): {cell.said}")


def _grid(progress: Progress) -> Table:
    """Table of rows and evaluations, with a mark for each seed."""
    marks: dict[str, dict[str, str]] = {}
    for cell in progress.cells:
        parts = cell.name.split("/")
        row, what = (WORLDS, parts[1]) if parts[0] == WORLDS else (parts[0], parts[2])
        seen = marks.setdefault(row, {})
        seen[what] = seen.get(what, "") + MARKS[cell.state]
    worlds = marks.pop(WORLDS, {})
    whats = list(dict.fromkeys([TRAINING, *(what for row in marks.values() for what in row)]))
    table = Table(
        caption="worlds: " + ", ".join(f"{name} {mark}" for name, mark in worlds.items()) if worlds else None
    )
    for column in ("row", *whats):
        table.add_column(column)
    for row, seen in marks.items():
        table.add_row(escape(row), *(seen.get(what, "") for what in whats))
    return table
