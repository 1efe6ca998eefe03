"""`codistill report HEAD…`: one page about fitted heads, with the settings of their fits, training curves and scores.

Folders of `codistill fit` in, an HTML page (and the curves as a PNG) out. Unfinished fits have curves too. Heads that
were not fitted in steps (k-NN), or were fitted on a cache, have none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from codistill.analysis.curves import smoothed, smoothing_width
from codistill.analysis.log import RunLogSeries, read_series
from codistill.analysis.page import Page
from codistill.engine.nonfinite import OWN_METRICS
from codistill.errors import ConfigError
from codistill.files.disk import size_text
from codistill.files.json_files import read_json
from codistill.files.writing import write_atomic
from codistill.tasks.results_table import result_kind, results_rows, shown_score, table_words
from codistill.tasks.shared.head_files import is_head, read_record
from codistill.tasks.shared.head_fit import RUN
from codistill.tasks.shared.scored_head import check_scored

_NOT_TERMS = ("step", *OWN_METRICS, "Conf1_std", "Conf2_std")
_COLUMNS = 3


def has_log(folder: Path) -> bool:
    """Whether a head was fitted by the engine, which logs every term of the loss."""
    return (folder / RUN / "metrics.jsonl").is_file()


def read_curves(folder: Path) -> tuple[RunLogSeries, RunLogSeries | None]:
    """Read a fit's log: of training, and of held-out data, if any."""
    held_out = folder / RUN / "validation.jsonl"
    return read_series(folder / RUN / "metrics.jsonl"), read_series(held_out) if held_out.is_file() else None


def terms_of(series: Sequence[RunLogSeries]) -> list[str]:
    """Names of the loss and those of its terms that all fits have; the loss comes first."""
    names = [n for n in series[0].values if "/" not in n and n not in _NOT_TERMS]
    shared = [n for n in names if all(n in s.values and np.isfinite(s.values[n]).any() for s in series)]
    return sorted(shared, key=lambda name: name != "loss")


def curves_of_heads(heads: dict[str, Path], path: Path) -> None:
    """Plot a panel per term of the loss, with a smoothed line per head, and dots for held-out data.

    Raises:
        ConfigError: if the heads were fitted with different losses.
    """
    curves = {name: read_curves(folder) for name, folder in heads.items()}
    terms = terms_of([training for training, _ in curves.values()])
    if not terms:
        raise ConfigError(f"{', '.join(heads)}: have no term of the loss in common; give heads of one task")
    rows = -(-len(terms) // _COLUMNS)
    size = (3.1 * _COLUMNS, 2.2 * rows)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=size, squeeze=False, constrained_layout=True)
    for panel in axes.flat[len(terms) :]:
        panel.axis("off")
    for panel, term in zip(axes.flat, terms, strict=False):
        lines, dots = [], []
        for index, (name, (training, held_out)) in enumerate(curves.items()):
            lines.append(smoothed(training.values[term], smoothing_width(training)))
            panel.plot(training.steps, lines[-1], color=f"C{index}", label=name, linewidth=1.2)
            if held_out is not None and term in held_out.values:
                dots.append(held_out.values[term])
                panel.plot(held_out.steps, dots[-1], "o", color=f"C{index}", markersize=3)
        panel.set_ylim(*limits(lines, dots))
        panel.set_title(term, fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def limits(lines: Sequence[np.ndarray], dots: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits of a panel's axis, which cut off the high values of the first steps for readability, but no dot.

    Args:
        lines: one per head, each with a finite value.
        dots: held-out data of some heads.
    """
    known = [line[np.isfinite(line)] for line in lines]
    late = [line[len(line) // 20 :] for line in known]
    values = np.concatenate([*late, *(some[np.isfinite(some)] for some in dots)])
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low or 1.0)
    return low - margin, high + margin


def report_heads(folders: Sequence[Path], out: Path, curves: Path) -> None:
    """Write the page, and the file of the curves.

    Raises:
        ConfigError: if two heads have the same name, or the heads are of different tasks.
        CheckpointError, DataError: if a folder cannot be read, or has scores of a head that was fitted again since.
    """
    mpl.use("Agg")
    heads = {folder.name: folder for folder in folders}
    if len(heads) != len(folders):
        raise ConfigError("two heads have the same folder name, which is what lines are called: rename one")
    for folder in folders:
        for path in sorted(folder.glob("*/metrics.json")):
            check_scored(path, folder)
    page = Page(title=", ".join(heads), lead="fitted heads")
    facts = [_facts(folder) for folder in folders if is_head(folder)]
    tasks = {fact[1] for fact in facts}
    if len(tasks) > 1:
        raise ConfigError(f"heads of one task can be compared; got {', '.join(sorted(tasks))}")
    page.heading("Heads")
    page.table(("head", "task", "encoder", "licence", "data", "fit"), facts)
    if logged := {name: folder for name, folder in heads.items() if has_log(folder)}:
        curves_of_heads(logged, curves)
        page.heading("Losses")
        held_out = any(read_curves(folder)[1] is not None for folder in logged.values())
        page.picture(curves, f"Training (smoothed){', and held-out data as dots' if held_out else ''}")
    _scores(heads, page)
    for name, folder in heads.items():
        _evaluations(name, folder, page)
    write_atomic(out, page.render())


def _facts(folder: Path) -> list[Any]:
    record = read_record(folder)
    fit = {k: v for k, v in record.fit.items() if isinstance(v, (str, int)) and v != ""}
    said = ", ".join(_in_words(name, value) for name, value in fit.items())
    encoder = record.features.encoder
    return [folder.name, record.task, encoder, record.encoder.licence, record.data.spec, said]


def _in_words(name: str, value: str | int) -> str:
    if name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes').replace('_', ' ')} of {size_text(int(value))}"
    return f"{name.replace('_', ' ')} {value}"


def _scores(heads: dict[str, Path], page: Page) -> None:
    """Add the headline scores of all heads' evaluations, with one table per set of images."""
    tables: dict[tuple[str, str, int], list[tuple[str, Any]]] = {}
    for name, folder in heads.items():
        for path in sorted(folder.glob("*/metrics.json")):
            numbers = read_json(path)
            tables.setdefault(result_kind(numbers), []).append((f"{name}/{path.parent.name}", numbers))
    for (task, split, images), found in tables.items():
        header, rows = results_rows(task, [numbers for _, numbers in found])
        page.heading(f"Scores: {task}, {images} {table_words(task).samples}, {split}")
        names = [name for name, _ in found]
        page.table(("head", *header), [(name, *row) for name, row in zip(names, rows, strict=True)])


def _evaluations(name: str, folder: Path, page: Page) -> None:
    """Add scores and pictures of every evaluation in the head's folder."""
    for path in sorted(folder.glob("*/metrics.json")):
        numbers = read_json(path)
        page.heading(f"{name}: {path.parent.name}")
        page.text(
            f"{numbers.get('images', '')} images of {numbers.get('data', '')}; {numbers.get('interval', '')}"
        )
        scores = {k: v for k, v in numbers.get("scores", {}).items() if isinstance(v, dict) and "mean" in v}
        titles = table_words(str(numbers.get("task", ""))).titles
        rows = [(titles.get(k, k), shown_score(v)) for k, v in scores.items()]
        page.table(("score", "mean and 95 % interval"), rows)
        for picture in sorted(path.parent.glob("*.png")):
            page.picture(picture, f"{name}: {picture.name}")
