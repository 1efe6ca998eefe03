"""Results of a study: finished evaluations in, scores over seeds and paired differences between rows out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError, DataError, unknown_name
from codistill.files.config import load_yaml
from codistill.files.json_files import read_json
from codistill.metrics.seeds import SeedScore, over_seeds
from codistill.study.asked import different_samples
from codistill.study.cells import is_fitted
from codistill.study.config import TRAINING, ComparisonConfig, StudyConfig
from codistill.study.outdated import Outdated
from codistill.study.places import StudyFolder
from codistill.study.records import read_cell
from codistill.tasks.evaluation import METRICS, verdict_of
from codistill.tasks.registry import find_task
from codistill.tasks.shared.score_table import ScoreTable, stored_table
from codistill.tasks.task import Column


@dataclass(frozen=True)
class Finished:
    """A finished evaluation.

    Attributes:
        table: the counts of every sample.
        metrics: contents of metrics.json.
        record: contents of cell.json.
    """

    table: ScoreTable
    metrics: dict[str, Any]
    record: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference between two rows.

    Attributes:
        row, against, evaluation, score: what was compared.
        found: `row` minus `against`, over seeds.
        verdict: `better`, `worse` or `not apart`.
        column: of the score.
        margin, equal: the stated margin, and whether the rows are equal within it; None if no margin was stated.
    """

    row: str
    against: str
    evaluation: str
    score: str
    found: SeedScore
    verdict: str
    column: Column
    margin: float | None = None
    equal: bool | None = None


@dataclass
class Results:
    """The finished cells in a study's folder, read when they are needed.

    Attributes:
        folder, study: the study's folder and configuration.
    """

    folder: StudyFolder
    study: StudyConfig
    _read: dict[str, Finished | None] = field(default_factory=dict)
    _scores: dict[tuple[str, str, str], SeedScore | None] = field(default_factory=dict)
    _columns: dict[str, dict[str, Column]] = field(default_factory=dict)

    def finished(self, row: str, seed: int, evaluation: str) -> Finished | None:
        """Read a finished evaluation; None if it is not finished or no longer holds.

        Raises:
            CheckpointError, DataError: if its files are damaged.
        """
        name = f"{row}/{seed}/{evaluation}"
        if name not in self._read:
            place, record = self.folder.cell(name), read_cell(self.folder, name)
            if record is None or evaluation in self.outdated.evaluations(row, seed):
                self._read[name] = None
            else:
                metrics = read_json(place / METRICS)
                if lacking := [key for key in ("data", "split") if not isinstance(metrics.get(key), str)]:
                    raise DataError(
                        f"{place / METRICS}: has no {lacking[0]}, so it is no record of an evaluation. Remove {place}; "
                        "`codistill study run` scores it again."
                    )
                self._read[name] = Finished(stored_table(place), metrics, record)
        return self._read[name]

    @cached_property
    def outdated(self) -> Outdated:
        """The finished evaluations that no longer hold; `finished` leaves them out."""
        return Outdated(self.folder, self.study)

    def by_seed(self, row: str, evaluation: str) -> dict[int, Finished]:
        """Finished evaluations of a row, by seed.

        Raises:
            DataError: if seeds were scored on different samples.
        """
        every = {seed: self.finished(row, seed, evaluation) for seed in self.study.seeds}
        found = {seed: one for seed, one in every.items() if one is not None}
        first = next(iter(found), None)
        for seed, one in found.items():
            if first is not None and (said := _apart(found[first].table.names, one.table.names)):
                raise DataError(
                    f"{evaluation}: seeds {first} and {seed} of {row} were scored on different samples: {said}"
                )
        return found

    def columns(self, evaluation: str) -> dict[str, Column]:
        """Scores of an evaluation, by name. Scores that depend on data or head are known once a cell is finished."""
        if evaluation not in self._columns:
            task = find_task(self.study.evaluations[evaluation].task)
            found = self._columns[evaluation] = dict(task.columns)
            for row in self.study.rows_of(evaluation):
                for one in self.by_seed(row, evaluation).values():
                    found |= task.columns_of(one.table)
        return self._columns[evaluation]

    def _has(self, evaluation: str, score: str, table: ScoreTable) -> bool:
        """Whether a table has a score; a row's own options (numbers of neighbours) may give it others."""
        return score in find_task(self.study.evaluations[evaluation].task).columns_of(table)

    def headlines(self, evaluation: str) -> list[str]:
        """Names of the scores that short tables show: all scores if the task names none."""
        columns = self.columns(evaluation)
        return [name for name, column in columns.items() if column.headline] or list(columns)

    def score(self, row: str, evaluation: str, score: str) -> SeedScore | None:
        """Compute a row's score over its seeds; None if nothing is finished yet, or if the score is undefined.

        Raises:
            DataError: for a score that the task does not have, or seeds with different images.
        """
        key = (row, evaluation, score)
        if key not in self._scores:
            statistic = self.column(evaluation, score).statistic
            tables = [one.table for one in self.by_seed(row, evaluation).values()]
            found = [statistic.resampled(one) for one in tables if self._has(evaluation, score, one)]
            known = [one for one in found if one is not None]
            self._scores[key] = over_seeds(known) if known else None
        return self._scores[key]

    def column(self, evaluation: str, score: str) -> Column:
        """Return the column of a score.

        Raises:
            DataError: for a score that the task does not have.
        """
        columns = self.columns(evaluation)
        if score not in columns:
            raise DataError(f"evaluation {evaluation!r}: {unknown_name('score', score, columns)}")
        return columns[score]

    @cached_property
    def all_differences(self) -> list[Difference]:
        """Paired differences of all comparisons, which take minutes where many samples are resampled."""
        return [one for comparison in self.study.comparisons for one in self.differences(comparison)]

    def differences(self, comparison: ComparisonConfig) -> list[Difference]:
        """Compute all paired differences of a comparison for which cells are finished."""
        names = comparison.evaluations or tuple(self.study.evaluations)
        found = []
        for evaluation in names:
            rows = self.study.rows_of(evaluation)
            for against in comparison.against:
                if comparison.row in rows and against in rows:
                    found += self._differences(comparison, against, evaluation)
        return found

    def _differences(self, comparison: ComparisonConfig, against: str, evaluation: str) -> list[Difference]:
        pairs = self._pairs(comparison.row, against, evaluation)
        if not pairs:
            return []
        found = []
        for score in self._compared(comparison, evaluation):
            column = self.column(evaluation, score)
            both = [pair for pair in pairs if all(self._has(evaluation, score, one) for one in pair)]
            try:
                each = [column.statistic.resampled_difference(one, other) for one, other in both]
            except DataError:  # one of the two rows has no sample with this score
                continue
            if not each:
                continue
            total = over_seeds(each)
            margin = comparison.margin.get(f"{evaluation}.{score}")
            if margin is None and score == next(iter(self.columns(evaluation))):
                margin = comparison.margin.get(evaluation)
            equal = None if margin is None else _within(total, margin)
            found.append(
                Difference(
                    row=comparison.row,
                    against=against,
                    evaluation=evaluation,
                    score=score,
                    found=total,
                    verdict=verdict_of(total.low, total.high, column.higher),
                    column=column,
                    margin=margin,
                    equal=equal,
                )
            )
        return found

    def _compared(self, comparison: ComparisonConfig, evaluation: str) -> list[str]:
        """The headline scores of an evaluation, and the scores with a margin."""
        stated = [name.split(".", 1) for name in comparison.margin if name.startswith(f"{evaluation}.")]
        return list(dict.fromkeys([*self.headlines(evaluation), *(score for _, score in stated)]))

    def _pairs(self, row: str, against: str, evaluation: str) -> list[tuple[ScoreTable, ScoreTable]]:
        """Pair the tables of both rows by seed. An encoder scored once, without a fit, is paired with every seed.

        Raises:
            DataError: if the two rows were scored on different samples.
        """
        if said := different_samples(self.study, row, against, evaluation):
            raise DataError(said)
        ours, theirs = self.by_seed(row, evaluation), self.by_seed(against, evaluation)
        fitted = is_fitted(self.study.evaluations[evaluation])
        if not fitted and any(self.study.rows[name].encoder for name in (row, against)):
            pairs = [(one.table, other.table) for one in ours.values() for other in theirs.values()]
        else:
            pairs = [(ours[seed].table, theirs[seed].table) for seed in ours if seed in theirs]
        for one, other in pairs:
            if said := _apart(one.names, other.names):
                raise DataError(f"{evaluation}: {row} and {against} were scored on different samples: {said}")
        return pairs

    def training(self, row: str) -> list[dict[str, Any]]:
        """Read the records of a row's finished trainings."""
        every = [read_cell(self.folder, f"{row}/{seed}/{TRAINING}") for seed in self.study.seeds]
        return [record for record in every if record is not None]


def _apart(one: Sequence[str], other: Sequence[str]) -> str:
    """How the names of two tables' samples differ; "" if they do not."""
    if one == other:
        return ""
    only = [sorted(set(a) - set(b)) for a, b in ((one, other), (other, one))]
    if not any(only):
        return "they are in another order, or some occur more than once"
    first, second = (f"{len(names)}{f' ({names[0]}, …)' if names else ''}" for names in only)
    return f"the first has {first} that the second lacks, the second {second} that the first lacks"


def _within(found: SeedScore, margin: float) -> bool:
    return found.low is not None and found.high is not None and -margin <= found.low and found.high <= margin


def open_results(folder: Path) -> Results:
    """Open the results in a study's folder.

    Raises:
        CheckpointError: if the folder is not that of a study.
    """
    place = StudyFolder(folder)
    if not place.study.is_file():
        raise CheckpointError(f"{folder}: is no study's folder (it has no {place.study.name})")
    return Results(place, load_yaml(StudyConfig, place.study))
