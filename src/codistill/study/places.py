"""The folder of a study, and which files of it belong to a cell.

DIR/study.yaml          the study, variables replaced
    cells/CELL/         a finished cell, small enough to commit: cell.json; of an evaluation metrics.json, per_image.npz
    runs/CELL/          what its command wrote: a run or an evaluation's folder
    logs/CELL.txt       what it said
    claims/, failed/    who works on what; what went wrong last
    tables/             what `study tables` wrote
"""

from dataclasses import dataclass
from pathlib import Path

CELL = "cell.json"


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder; cells are named ROW/SEED/WHAT."""

    root: Path

    @property
    def study(self) -> Path:
        return self.root / "study.yaml"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def claims(self) -> Path:
        return self.root / "claims"

    def cell(self, name: str) -> Path:
        """The folder of a finished cell."""
        return self.root / "cells" / name

    def work(self, name: str) -> Path:
        """What the cell's command writes."""
        return self.root / "runs" / name

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.txt"

    def failure(self, name: str) -> Path:
        return self.root / "failed" / f"{name}.json"

    def attempts(self, name: str) -> Path:
        """Seconds of every attempt at a cell, one JSON a line."""
        return self.root / "claims" / f"{flat_name(name)}.attempts"


def flat_name(name: str) -> str:
    """A cell's name as one file name."""
    return name.replace("/", "~")
