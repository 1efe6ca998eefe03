"""Read a run's log: metrics.jsonl and validation.jsonl as named series."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.errors import DataError
from codistill.files.lines import read_lines


@dataclass(frozen=True)
class RunLogSeries:
    """Numbers by step.

    Attributes:
        steps: (row,) 0-based steps, increasing.
        values: for each name (row,) values; NaN if a step has none.
    """

    steps: np.ndarray
    values: dict[str, np.ndarray]

    def teachers(self) -> tuple[str, ...]:
        """Teachers that have a loss, in the order of the log."""
        return tuple(n.split("/")[1] for n in self.values if n.startswith("loss/") and n.count("/") == 1)


def read_series(path: Path) -> RunLogSeries:
    """Read a JSONL log as series. A last line that was cut off by a crash is ignored.

    Raises:
        DataError: if the file is missing, empty, no text, or damaged in the middle.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; is this the folder of a run?")
    lines = read_lines(path)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}: line {number} is damaged ({error.msg})") from error
        if isinstance(row, dict) and "step" in row:
            if type(row["step"]) is not int:
                raise DataError(
                    f"{path}: line {number} is damaged (its step is {row['step']!r}, no whole number)"
                )
            rows.append(row)
    if not rows:
        raise DataError(f"{path}: holds no steps yet")
    names = dict.fromkeys(name for row in rows for name in row if name != "step")
    values = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
    return RunLogSeries(np.array([row["step"] for row in rows]), values)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
