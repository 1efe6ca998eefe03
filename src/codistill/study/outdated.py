"""Which finished evaluations no longer hold: those of a student that was trained anew since, or that learned from one.

The present student of a row is the one in its export or, on a machine without it, the one that was evaluated last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from codistill.files.json_files import read_json
from codistill.recipes.contents import content_of
from codistill.study.cells import export_of
from codistill.study.config import TRAINING, StudyConfig
from codistill.study.places import CELL, StudyFolder
from codistill.study.records import damaged_record, read_cell
from codistill.study.row_recipes import ROW
from codistill.tasks.evaluation import METRICS

START = "row "
"""Prefix of the initialization of a student that starts from another row's, in the record of its training."""


@dataclass
class Outdated:
    """The outdated evaluations in a study's folder, found when they are needed.

    Attributes:
        folder, study: the study's folder and configuration.
    """

    folder: StudyFolder
    study: StudyConfig
    _found: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def evaluations(self, row: str, seed: int) -> tuple[str, ...]:
        """List the evaluations of a row that no longer hold.

        These are the evaluations of an earlier student of the row and, if a student that the row starts or learns from
        was trained anew since (or needs to be), all of them.

        Raises:
            CheckpointError: if a record is damaged.
        """
        if (row, seed) not in self._found:
            self._found[row, seed] = self._find(row, seed)
        return self._found[row, seed]

    def names(self) -> list[str]:
        """List the names of all outdated cells."""
        rows = ((row, seed) for row in self.study.rows for seed in self.study.seeds)
        return [f"{row}/{seed}/{name}" for row, seed in rows for name in self.evaluations(row, seed)]

    def _find(self, row: str, seed: int) -> tuple[str, ...]:
        if self.study.row(row).encoder:
            return ()
        evaluated = self._evaluated(row, seed)
        if evaluated and self._learned_from_earlier(row, seed):
            return tuple(evaluated)
        now = self._present(row, seed)
        return tuple(name for name, student in evaluated.items() if student and now and student != now)

    def _learned_from_earlier(self, row: str, seed: int, after: tuple[str, ...] = ()) -> bool:
        """Whether a student that a row starts or learns from is no longer the one that its training read.

        Args:
            row, seed: of the training.
            after: rows that lead here; records of different versions of a study may form a circle.
        """
        for before, student in self._read_by(row, seed):
            now = self._present(before, seed)
            if student and now and student != now:
                return True
            if before not in after and self._learned_from_earlier(before, seed, (*after, row)):
                return True
        return False

    def _read_by(self, row: str, seed: int) -> list[tuple[str, str]]:
        """Rows whose students a finished training read, and the contents of these ("" if unknown)."""
        name = f"{row}/{seed}/{TRAINING}"
        record = read_cell(self.folder, name)
        try:
            return [] if record is None else list(_students_in(record))
        except (AttributeError, KeyError, TypeError) as error:
            raise damaged_record(self.folder.cell(name) / CELL, "config") from error

    def _evaluated(self, row: str, seed: int) -> dict[str, str]:
        """Contents of the student that each finished evaluation of a row read; "" if unknown."""
        records = {name: read_cell(self.folder, f"{row}/{seed}/{name}") for name in self.study.evaluations}
        return {name: one["contents"].get("encoder", "") for name, one in records.items() if one is not None}

    def _present(self, row: str, seed: int) -> str:
        """Contents of the present student of a row; "" if unknown."""
        evaluated = {name: student for name, student in self._evaluated(row, seed).items() if student}
        return content_of(str(export_of(self.folder, row, seed))) or (
            evaluated[max(evaluated, key=lambda name: self._time(row, seed, name))] if evaluated else ""
        )

    def _time(self, row: str, seed: int, evaluation: str) -> str:
        path = self.folder.cell(f"{row}/{seed}/{evaluation}") / METRICS
        return str(read_json(path).get("provenance", {}).get("time", ""))


def _students_in(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows whose students a training read, and the contents of these, in its record."""
    recipe, contents = record["config"]["recipe"], record["contents"]
    start = str(recipe["student"].get("init") or "")
    if start.startswith(START):
        yield start.removeprefix(START), contents.get("student.init", "")
    for teacher in recipe["teachers"]:
        if teacher["encoder"].startswith(ROW):
            yield teacher["encoder"].removeprefix(ROW), contents.get(f"teacher {teacher['name']}", "")
