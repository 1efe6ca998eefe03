"""Refuse, before anything runs, tables and comparisons that the results could not give."""

from typing import Any

from codistill.errors import ConfigError, unknown_name
from codistill.study.config import COSTS, StudyConfig, merged
from codistill.tasks.registry import find_task
from codistill.tasks.task import Task

_CHOOSE = ("data", "split", "limit", "partial")
"""Options that determine which samples are scored."""


def check_asked(study: StudyConfig) -> None:
    """Refuse scores that a task does not have, and comparisons of rows that are scored on different samples.

    Raises:
        ConfigError: names the column, margin or comparison.
    """
    for name, table in study.tables.items():
        for column in table.columns:
            _check_score(study, f"tables.{name}.columns", column)
    for number, one in enumerate(study.comparisons):
        where = f"comparisons[{number}]"
        for name in one.margin:
            _check_score(study, f"{where}.margin", name)
        for evaluation in one.evaluations or study.evaluations:
            rows = study.rows_of(evaluation)
            for against in one.against if one.row in rows else ():
                if against in rows and (said := different_samples(study, one.row, against, evaluation)):
                    raise ConfigError(f"{where}: {said}")


def _check_score(study: StudyConfig, where: str, column: str) -> None:
    evaluation, _, score = column.partition(".")
    task = None if column in COSTS else find_task(study.evaluations[evaluation].task)
    # Other scores may follow from the data or a head (`knn`); they are known once a cell is finished.
    if score and task and task.more_columns is Task.more_columns and score not in task.columns:
        raise ConfigError(f"{where}: {evaluation}: {unknown_name('score', score, task.columns)}")


def different_samples(study: StudyConfig, row: str, against: str, evaluation: str) -> str:
    """Why the options of two rows have different samples scored; "" if they do not."""
    own, other = (_samples(study, one, evaluation) for one in (row, against))
    if own == other:
        return ""
    return (
        f"{evaluation}: {row} and {against} are scored on different samples, as their options say "
        f"({own} against {other}); give both the same, or compare other rows"
    )


def _samples(study: StudyConfig, row: str, evaluation: str) -> dict[str, Any]:
    options = merged(study.evaluations[evaluation].options, study.row(row).options.get(evaluation, {}))
    return {name: options.get(name) for name in _CHOOSE}
