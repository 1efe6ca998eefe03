"""Evaluate any task: turn outcomes of samples into scores with confidence intervals and a folder of results.

OUT/metrics.json      scores, confidence intervals, data, model, command, commit
    per_image.npz     counts of every sample (`shared/score_table.py`)
    pictures.png      pictures of some samples
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codistill.errors import ConfigError, DataError, WriteError, unknown_name
from codistill.files.json_files import read_json
from codistill.files.npz import write_npz
from codistill.files.plain import to_plain
from codistill.files.writing import cannot_write, make_directory, remove_quietly, temporary_name
from codistill.imaging.pictures import grid_picture, save_picture
from codistill.metrics.interval import Interval
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.data import spread
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.shared.score_table import PER_IMAGE, ScoreTable, read_table
from codistill.tasks.shared.scored_head import check_scored
from codistill.tasks.task import Column, Outcome, Summary, Task

METRICS, PICTURES = "metrics.json", "pictures.png"
WIDTH = 900
"""Width in pixels of a row of pictures."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of scoring a split.

    Attributes:
        table: counts of every sample.
        scores: the scores that are defined, by name, with confidence intervals.
        summary: further results of the task.
        pictures: rows of pictures (row, column, 3) uint8.
    """

    table: ScoreTable
    scores: dict[str, Interval]
    summary: Summary
    pictures: list[Sequence[np.ndarray]]


def evaluate(
    task: Task,
    outcomes: Iterable[Outcome],
    data: TaskData,
    test: Any,
    *,
    pictures: int = 6,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Collect the counts of every sample, then compute the scores.

    Args:
        task: the task that the outcomes come from.
        outcomes: result of `task.score`, in the order of the samples.
        data: the scored split.
        test: scoring options.
        pictures: number of samples to draw, evenly spread.
        progress: called with the number of samples done and their total.

    Raises:
        DataError: if a sample cannot be used, or none can be scored.
    """
    total = len(data.samples)
    shown = set(spread(total, pictures)) if pictures > 0 else set()
    names: list[str] = []
    values: list[Mapping[str, Any]] = []
    rows: list[Mapping[str, np.ndarray]] = []
    drawn: list[Sequence[np.ndarray]] = []
    for index, outcome in enumerate(outcomes):
        names.append(outcome.name)
        values.append(outcome.values)
        count = len(next(iter(outcome.rows.values()))) if outcome.rows else 0
        rows.append({"sample": np.full(count, index), **outcome.rows})
        if index in shown and outcome.draw is not None:
            drawn.append(outcome.draw())
        progress(index + 1, total)
    if not names:
        raise DataError(f"{data.spec} ({data.split}): there is nothing to score")
    table = ScoreTable(
        names=tuple(names),
        groups=named_groups(data.samples),
        values={name: np.stack([np.asarray(one[name]) for one in values]) for name in values[0]},
        rows={name: np.concatenate([one[name] for one in rows]) for name in rows[0]}
        if len(rows[0]) > 1
        else {},
    )
    scores = intervals(task.columns_of(table), table)
    if not scores:
        raise DataError(
            f"{data.spec} ({data.split}): no sample has anything that can be scored{_settings(test)}"
        )
    return Evaluation(table=table, scores=scores, summary=task.summarize(table, data, test), pictures=drawn)


def _settings(test: Any) -> str:
    """The test's options that are not its defaults, as ` with size=5`; "" without any."""
    now, usual = to_plain(test), {} if test is None else to_plain(type(test)())
    changed = [f"{name}={value}" for name, value in (now or {}).items() if usual.get(name) != value]
    return f" with {', '.join(changed)}" if changed else ""


def intervals(columns: Mapping[str, Column], table: ScoreTable) -> dict[str, Interval]:
    """Compute the scores that are defined for a table, with confidence intervals."""
    found = {name: column.statistic.interval(table) for name, column in columns.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def check_comparable(data: TaskData, against: Path) -> None:
    """Refuse a comparison with an evaluation of another folder or split.

    Equal sample names are no proof of equal samples: names such as 0001.jpg occur in many data sets.

    Args:
        data: the data to score.
        against: the folder of an earlier evaluation.

    Raises:
        ConfigError: if the earlier evaluation scored other data or another split.
        CheckpointError: if its metrics are missing or damaged, or are of a head that was fitted again since.
    """
    check_scored(against / METRICS, against.resolve().parent)
    said = read_json(against / METRICS)
    theirs, split = str(said.get("data", data.spec)), said.get("split", data.split)
    if split != data.split or not _same_place(theirs, data.spec):
        raise ConfigError(
            f"{against}: scored {theirs} ({split}), this is {data.spec} ({data.split}): a paired difference needs the "
            "same samples. Evaluate both on one of them (--data, --split)."
        )


def _same_place(one: str, other: str) -> bool:
    """Whether two `LAYOUT:FOLDER` have the same layout and mean the same folder."""
    (layout, _, first), (like, _, second) = one.partition(":"), other.partition(":")
    return layout == like and Path(first).expanduser().resolve() == Path(second).expanduser().resolve()


def compare(
    task: Task, found: Evaluation, against: Path, score: str | None = None, margin: float | None = None
) -> dict[str, Any]:
    """Compute the paired difference to an earlier evaluation of the same samples, for metrics.json.

    Args:
        task: task of both evaluations.
        found: this evaluation.
        against: the folder of the earlier evaluation.
        score: name of the score; None: the task's first one that is defined.
        margin: differences within ± this value count as equal.

    Raises:
        ConfigError: if the task has no such score, or other samples were scored.
        DataError: if there is no such evaluation.
    """
    columns = task.columns_of(found.table)
    name = score or next(name for name in columns if name in found.scores)
    if name not in found.scores:
        raise ConfigError(unknown_name("score", name, found.scores))
    other = read_table(against, found.table)
    difference = columns[name].statistic.difference(found.table, other)
    verdict = verdict_of(difference.low, difference.high, columns[name].higher)
    result = {
        "against": str(against),
        "score": name,
        "difference": plain_interval(difference),
        "verdict": verdict,
    }
    if margin is None:
        return result
    return {**result, "margin": margin, "equal_within_margin": difference.within(margin)}


def verdict_of(low: float | None, high: float | None, higher: bool) -> str:
    """Verdict on a difference: `better`, `worse`, or `not apart` if its interval contains 0 or is unknown."""
    if low is None or high is None or not low * high > 0:
        return "not apart"
    return "better" if (low > 0) is higher else "worse"


def plain_interval(interval: Interval) -> dict[str, Any]:
    """An interval for metrics.json; None (null) for an infinite number and for an unknown limit."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and np.isfinite(value) else None

    return {
        "mean": finite(interval.mean),
        "low": finite(interval.low),
        "high": finite(interval.high),
        "count": interval.count,
        "groups": interval.groups,
    }


def write_evaluation(
    out: Path,
    task: Task,
    found: Evaluation,
    data: TaskData,
    test: Any,
    about: Mapping[str, Any],
    command: list[str],
) -> list[str]:
    """Write the folder of an evaluation. An earlier one in it is replaced as a whole: its files belong together.

    Args:
        out: the folder.
        task, found, data, test: the evaluation, and what was evaluated.
        about: the model and how it was fitted, for metrics.json.
        command: the command line, for provenance.

    Returns:
        Names of the written files.

    Raises:
        WriteError: if a file cannot be written; the earlier evaluation is still there.
    """
    numbers = {
        "task": task.name,
        "unit": task.unit,
        "interval": found.table.groups.about(task.samples),
        "data": data.spec,
        "split": data.split,
        "images": len(found.table),
        **about,
        "test": to_plain(test),
        "scores": {name: plain_interval(interval) for name, interval in found.scores.items()},
        **found.summary.facts,
    }
    building = temporary_name(out / "evaluation")
    try:
        make_directory(building)
        write_npz(building / PER_IMAGE, found.table.arrays())
        files = [METRICS, PER_IMAGE]
        if found.pictures:
            _save_pictures(found, task, building / PICTURES)
            files.append(PICTURES)
        write_metrics(building / METRICS, numbers, command)
        for name in files:
            (building / name).replace(out / name)
        if not found.pictures:
            (out / PICTURES).unlink(missing_ok=True)  # left by an earlier evaluation in this folder
    except (OSError, WriteError) as error:
        raise cannot_write(out, error) from error
    finally:
        remove_quietly(building)
    return files


def _save_pictures(found: Evaluation, task: Task, path: Path) -> None:
    width = WIDTH // len(task.shown)
    grid = np.asarray(grid_picture(found.pictures, task.shown, (3 * width // 4, width)))
    legend = found.summary.legend
    strips = [grid] if legend is None else [grid, legend(grid.shape[1])]
    save_picture(Image.fromarray(np.concatenate(strips)), path)
