"""The folder of a study, and which of its files belong to a cell.

DIR/study.yaml          the study, with its variables replaced
    cells/CELL/         a finished cell, small enough to commit: cell.json; for an evaluation also metrics.json,
                        per_image.npz
    runs/CELL/          output of its command: a run, or an evaluation's folder
    logs/CELL.txt       log of its command
    claims/, failed/    which process works on which cell; the last errors
    tables/             output of `study tables`
"""

from dataclasses import dataclass
from pathlib import Path

CELL = "cell.json"


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study; cells are named ROW/SEED/WHAT."""

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
        """Folder of a finished cell."""
        return self.root / "cells" / name

    def work(self, name: str) -> Path:
        """Folder that the cell's command writes."""
        return self.root / "runs" / name

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.txt"

    def failure(self, name: str) -> Path:
        return self.root / "failed" / f"{name}.json"

    def attempts(self, name: str) -> Path:
        """File with the seconds of every attempt at a cell, one JSON object per line."""
        return self.root / "claims" / f"{flat_name(name)}.attempts"


def flat_name(name: str) -> str:
    """A cell's name as one file name."""
    return name.replace("/", "~")
