"""Look at a run from Python: its recipe, its progress and its losses, which a notebook draws."""

import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codistill.analysis.curves import loss_figure
from codistill.analysis.display import png_uri
from codistill.analysis.log import RunLogSeries, read_series
from codistill.errors import DataError
from codistill.files.config import read_yaml
from codistill.files.json_files import read_json
from codistill.tasks.shared.head_fit import RUN
from codistill.weights.run import CONFIG, DESCRIBE

_INCHES = (6.5, 2.8)
METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of `codistill distill`, or the fit of a head in steps.

    Attributes:
        folder: of the run.
        recipe: its config.yaml, as plain values.
        described: its describe.json: architecture, teachers, licence.
        losses: the numbers of every step, by name: `loss`, `loss/TEACHER`, …
        held_out: the numbers on held-out data, by name; None if there are none.
    """

    folder: Path
    recipe: Mapping[str, Any] = field(repr=False)
    described: Mapping[str, Any] = field(repr=False)
    losses: RunLogSeries = field(repr=False)
    held_out: RunLogSeries | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """Number of steps done, as far as the log tells."""
        return int(self.losses.steps[-1]) + 1

    def _repr_html_(self) -> str:
        """The display in a notebook: what was trained, how far, by which teachers, the licence, and the curves."""
        name, about = (str(self.recipe.get(key) or "") for key in ("name", "about"))
        facts = [f"{self.steps:,} steps", f"last loss {self.losses.values['loss'][-1]:.4f}"]
        teachers = [str(teacher.get("name", "")) for teacher in self.described.get("teachers") or ()]
        facts += [f"teachers: {', '.join(teachers)}"] if teachers else []
        facts += [f"licence: {self.described['licence']}"] if self.described.get("licence") else []
        title = (
            f"<b>{html.escape(str(self.folder))}</b> {html.escape(': '.join(filter(None, (name, about))))}"
        )
        file = io.BytesIO()
        loss_figure(self.losses, self.held_out, _INCHES).savefig(file, format="png", dpi=80)
        picture = f'<img src="{png_uri(file.getvalue())}">'
        return f"<div>{title}<br>{html.escape(' · '.join(facts))}<br>{picture}</div>"


def load_run(folder: str | Path) -> Run:
    """Load a run's recipe, description and losses. A run that is still training is read up to its present step.

    Args:
        folder: folder of `codistill distill`, or of a head that was fitted in steps (HEAD, which keeps its run).

    Raises:
        DataError: if it is not a run, or its log is damaged.
    """
    run = Path(folder).expanduser()
    if not (run / METRICS).is_file() and (run / RUN / METRICS).is_file():
        run = run / RUN
    if not (run / CONFIG).is_file():
        raise DataError(
            f"{folder}: is no run of `codistill distill` or of a fit in steps (no {CONFIG} there). Heads that were "
            "fitted on a cache, and exported folders, keep none"
        )
    held_out = run / VALIDATION
    return Run(
        folder=run,
        recipe=read_yaml(run / CONFIG),
        described=read_json(run / DESCRIBE) if (run / DESCRIBE).is_file() else {},
        losses=read_series(run / METRICS),
        held_out=read_series(held_out) if held_out.is_file() else None,
    )
