"""Watch for steps skipped because of a non-finite value: rows of the log in, an error after too many in a row out.

The device decides to skip a step; the host counts skipped steps at the next log interval. nonfinite.json names the
images of the skipped steps, from every rank.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from codistill.engine.distributed import Process
from codistill.engine.logging import Row
from codistill.errors import CodistillError
from codistill.files.writing import write_atomic
from codistill.types import Batch

SKIPPED = "skipped"
OWN_METRICS = ("lr", "bad_images", SKIPPED)
"""The engine's own metrics, in addition to those with a slash in their name."""
NONFINITE = "nonfinite.json"


class NonFiniteError(CodistillError, ArithmeticError):
    """Too many steps in a row had a loss or a gradient that was not finite."""


class NonFiniteWatch:
    """Counts skipped steps in a row.

    Args:
        limit: number of skipped steps in a row that ends the run.
        run_dir: folder in which nonfinite.json is written.
        process: this process.
    """

    def __init__(self, limit: int, run_dir: Path, process: Process) -> None:
        self._limit, self._run_dir, self._process = limit, run_dir, process
        self._names: dict[int, list[dict[str, str]]] = {}
        self._streak: list[int] = []
        self.skipped = 0

    def saw(self, step: int, batches: Sequence[Batch]) -> None:
        """Remember a step's images until the log shows that the step was finite."""
        self._names[step] = [
            {"source": source, "name": name}
            for batch in batches
            for source, name in zip(batch.sources, batch.names, strict=True)
        ]

    def check(self, rows: Sequence[Row]) -> None:
        """Count the skipped steps among the log's rows.

        Raises:
            NonFiniteError: after `limit` in a row, on every rank.
        """
        for step, values in rows:
            if values[SKIPPED] == 0.0:
                self._streak.clear()
                continue
            self.skipped += 1
            self._streak.append(step)
            if len(self._streak) >= self._limit:
                self._stop()
        kept = set(self._streak)
        self._names = {step: names for step, names in self._names.items() if step in kept}

    def _stop(self) -> None:
        mine = {step: self._names.get(step, []) for step in self._streak}
        by_rank = self._process.gather_objects(mine)
        path = self._run_dir / NONFINITE
        if self._process.is_main:
            steps = [
                {"step": step, "images": [image for names in by_rank for image in names[step]]}
                for step in self._streak
            ]
            write_atomic(path, json.dumps(steps, indent=1, ensure_ascii=False) + "\n")
        raise NonFiniteError(
            f"the loss or a gradient was not finite in {len(self._streak)} steps in a row "
            f"({self._streak[0]} to {self._streak[-1]}); none of them changed the model. The images of these steps "
            f"are named in {path}. Look at them, lower the learning rate, or allow more with max_nonfinite; the "
            "same command then resumes from the last checkpoint."
        )
