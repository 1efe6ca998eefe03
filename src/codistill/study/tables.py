"""Tables of a study: results in, titled grids of text out; `render.py` writes these as Markdown, LaTeX and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from codistill.metrics.seeds import HOW, SeedScore
from codistill.study.cells import cell_names, is_fitted
from codistill.study.config import CELLS, COMPARISONS, COSTS, StudyConfig, TableConfig
from codistill.study.records import read_cell
from codistill.study.results import Difference, Results
from codistill.study.shown import shown_flops, shown_time

NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """An entry of a table.

    Attributes:
        text: what it shows.
        below: its confidence interval, and which seeds are missing.
        best: whether it is the best in its column.
        seeds: which seeds are missing, where that is not yet part of a text.
    """

    text: str
    below: str = ""
    best: bool = False
    seeds: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as text.

    Attributes:
        name, title: of the table.
        header: headings of the columns; the first column names the rows.
        rows: the entries of each row.
        notes: texts below the table.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


def study_grids(results: Results) -> list[Grid]:
    """Make every table of a study, its comparisons, and the cost of each cell.

    Raises:
        CheckpointError, DataError: if a finished cell is damaged, or a column is not a score of its task.
    """
    study = results.study
    tables = study.tables or {"scores": TableConfig(about=study.about or study.name)}
    grids = [_scores(results, name, table) for name, table in tables.items()]
    return [*grids, *_comparisons(results), _cells(results)]


def title_of(study: StudyConfig, row: str) -> str:
    """A row's name in tables."""
    return study.rows[row].about or row


def _scores(results: Results, name: str, table: TableConfig) -> Grid:
    study = results.study
    rows = table.rows or tuple(study.rows)
    columns = [
        part for column in table.columns or (*study.evaluations, *COSTS) for part in _parts(results, column)
    ]
    fields = [
        _marked(results, [_field(results, row, column) for row in rows], column, rows) for column in columns
    ]
    return Grid(
        name=name,
        title=table.about or name,
        header=("", *(_header(results, column) for column in columns)),
        rows=tuple(
            _row(title_of(study, row), [column[at] for column in fields]) for at, row in enumerate(rows)
        ),
        notes=tuple(filter(None, (table.note, _how(results, columns, rows)))),
    )


def _row(title: str, fields: list[Entry]) -> tuple[Entry, ...]:
    """A row of a table. Which seeds are missing stands beside its name, or at each entry where entries differ."""
    seeds = {one.seeds for one in fields if one.below}
    if len(seeds) == 1:
        return Entry(title, seeds.pop()), *fields
    return Entry(title), *(replace(one, below=f"{one.below} {one.seeds}".strip()) for one in fields)


def _parts(results: Results, column: str) -> list[str]:
    """Expand `EVALUATION` to its headline scores; nothing while its scores depend on data that no cell has read yet."""
    if column in COSTS:
        return [column]
    if "." in column:
        return [column] if results.columns(column.split(".", 1)[0]) else []
    return [f"{column}.{score}" for score in results.headlines(column)]


def _header(results: Results, column: str) -> str:
    if column in COSTS:
        return {"hours": "training (h)", "flops": "training (operations)"}[column]
    evaluation, score = column.split(".", 1)
    found = results.column(evaluation, score)
    called = results.study.evaluations[evaluation].about or evaluation
    return f"{called}: {found.title} {'↑' if found.higher else '↓'}"


def _field(results: Results, row: str, column: str) -> Entry:
    if column in COSTS:
        return _cost(results, row, column)
    evaluation, score = column.split(".", 1)
    if row not in results.study.rows_of(evaluation):
        return Entry(NOTHING)
    found = results.score(row, evaluation, score)
    if found is None:
        return Entry(NOTHING)
    digits = results.column(evaluation, score).digits
    once = bool(results.study.rows[row].encoder) and not is_fitted(results.study.evaluations[evaluation])
    wanted = 1 if once else len(results.study.seeds)
    limits = (
        "unknown"
        if found.low is None or found.high is None
        else f"{found.low:.{digits}f}, {found.high:.{digits}f}"
    )
    missing = wanted > len(found.values) > 0
    return Entry(
        f"{found.mean:.{digits}f}",
        f"[{limits}]",
        seeds=f"{len(found.values)} of {wanted} seeds" if missing else "",
    )


def _marked(results: Results, fields: list[Entry], column: str, rows: Sequence[str]) -> list[Entry]:
    """Mark the entries of a column with the best mean, if at least two rows have one."""
    if column in COSTS:
        return fields
    evaluation, score = column.split(".", 1)
    asked = results.study.rows_of(evaluation)
    found = [results.score(row, evaluation, score) if row in asked else None for row in rows]
    sign = 1 if results.column(evaluation, score).higher else -1
    means = [None if one is None else sign * one.mean for one in found]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return fields
    return [replace(one, best=mean == max(known)) for one, mean in zip(fields, means, strict=True)]


def _cost(results: Results, row: str, column: str) -> Entry:
    records = results.training(row)
    if results.study.rows[row].encoder or not records:
        return Entry(NOTHING)
    if column == "hours":
        cached = " (targets cached)" * any(record.get("target_cache", False) for record in records)
        return Entry(f"{sum(record['seconds'] for record in records) / len(records) / 3600:.2f}{cached}")
    flops = [record["flops"] for record in records if record.get("flops")]
    return Entry(shown_flops(sum(flops) / len(flops)) if flops else NOTHING)


def _how(results: Results, columns: Sequence[str], rows: Sequence[str]) -> str:
    """State the number of samples and groups from which the intervals are computed."""
    parts = []
    for evaluation in dict.fromkeys(column.split(".")[0] for column in columns if column not in COSTS):
        known = [r for r in rows if r in results.study.rows_of(evaluation)]
        every = [one for row in known for one in results.by_seed(row, evaluation).values()]
        samples = dict.fromkeys(  # rows may have samples of their own
            f"{len(one.table)} samples in {one.table.groups.count} groups of {one.metrics['data']} "
            f"({one.metrics['split']})"
            for one in every
        )
        if samples:
            parts.append(f"{evaluation}: {' or '.join(samples)}")
    return f"In brackets: {HOW}. {'; '.join(parts)}." if parts else ""


def _comparisons(results: Results) -> list[Grid]:
    found = results.all_differences
    if not found:
        return []
    return [
        Grid(
            name=COMPARISONS,
            title="Paired differences",
            header=("row", "minus", "score", "difference", "verdict", "p"),
            rows=tuple(tuple(_compared(results, one)) for one in found),
            notes=(
                "Differences on the same images, seed by seed; intervals as in the tables. Better, worse: the interval "
                f"does not hold 0. p: bootstrap, two-sided, not corrected for the {len(found)} comparisons; its "
                "smallest possible value is about 0.001 (0.002 for relocalization, with half as many resamples).",
            ),
        )
    ]


def _compared(results: Results, one: Difference) -> list[Entry]:
    digits = one.column.digits
    verdict = one.verdict
    if one.margin is not None:
        verdict += f"; {'equal' if one.equal else 'not shown to be equal'} within ±{one.margin:g}"
    p = one.found.p
    return [
        Entry(title_of(results.study, one.row)),
        Entry(title_of(results.study, one.against)),
        Entry(_header(results, f"{one.evaluation}.{one.score}")),
        Entry(f"{one.found.mean:+.{digits}f}", _interval(one.found, digits)),
        Entry(verdict),
        Entry(NOTHING if p is None else f"{p:.3f}"),
    ]


def _interval(found: SeedScore, digits: int) -> str:
    if found.low is None or found.high is None:
        return "[unknown]"
    return f"[{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _cells(results: Results) -> Grid:
    """Table with the cost of every finished cell."""
    study = results.study
    rows = []
    for name in cell_names(study):
        record = read_cell(results.folder, name)
        if record is not None:
            cost = shown_flops(record["flops"]) if record.get("flops") else NOTHING
            shown = (name, shown_time(record["seconds"]), cost, str(record["attempts"]), record["machine"])
            rows.append(tuple(map(Entry, shown)))
    return Grid(
        name=CELLS,
        title="What each cell cost",
        header=("cell", "time", "operations", "attempts", "machine"),
        rows=tuple(rows),
        notes=(
            "Wall-clock time over all attempts. Operations of trainings are counted, as by `codistill plan`.",
            *_left_out(results),
        ),
    )


def _left_out(results: Results) -> list[str]:
    text = (
        "Left out, because their student, or one that it started or learned from, was trained anew since: {}. "
        "`codistill study run` does them again."
    )
    names = results.outdated.names()
    return [text.format(", ".join(names))] if names else []


def plain_numbers(results: Results) -> dict[str, Any]:
    """All scores and differences as plain values, for a metrics file."""
    study = results.study
    scores: dict[str, Any] = {}
    for evaluation in study.evaluations:
        for row in study.rows_of(evaluation):
            for score in results.columns(evaluation):
                found = results.score(row, evaluation, score)
                if found is not None:
                    scores.setdefault(evaluation, {}).setdefault(row, {})[score] = plain_score(found)
    differences = [
        {
            "row": one.row,
            "against": one.against,
            "evaluation": one.evaluation,
            "score": one.score,
            **plain_score(one.found),
            "verdict": one.verdict,
            **({} if one.margin is None else {"margin": one.margin, "equal_within_margin": one.equal}),
        }
        for one in results.all_differences
    ]
    return {
        "study": study.name,
        "seeds": list(study.seeds),
        "interval": HOW,
        "scores": scores,
        "differences": differences,
    }


def plain_score(found: SeedScore) -> dict[str, Any]:
    """A score over seeds as JSON values; null for a number that is infinite or unknown."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and abs(value) < float("inf") else None

    return {
        "mean": finite(found.mean),
        "low": finite(found.low),
        "high": finite(found.high),
        "values": [finite(value) for value in found.values],
        "count": found.count,
        "groups": found.groups,
        **({} if found.p is None else {"p": round(found.p, 5)}),
    }
