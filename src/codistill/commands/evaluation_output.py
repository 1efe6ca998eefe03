"""What evaluations of heads leave behind: metrics.json, numbers per image, a picture grid, a table; and comparisons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from codistill.files.npz import write_npz
from codistill.imaging.pictures import below, grid_picture, save_picture
from codistill.metrics.interval import Interval
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.record import write_metrics

METRICS, PER_IMAGE, PICTURES = "metrics.json", "per_image.npz", "pictures.png"


def write_evaluation(
    out: Path,
    numbers: Mapping[str, Any],
    per_image: Mapping[str, np.ndarray],
    names: Sequence[str],
    pictures: Sequence[Sequence[np.ndarray]],
    command: list[str],
    legend: Callable[[int], np.ndarray] | None = None,
) -> None:
    """Write an evaluation's folder.

    Args:
        out: the folder.
        numbers: for metrics.json.
        per_image, names: for per_image.npz: what paired comparisons need.
        pictures: rows of image, truth, prediction; none are fine.
        command: what was typed.
        legend: a strip (row, width, 3) of a given width to put below the pictures.

    Raises:
        WriteError: if something cannot be written.
    """
    write_npz(out / PER_IMAGE, {"names": np.array(names), **per_image})
    if pictures:
        grid = np.asarray(grid_picture(pictures, ("image", "truth", "prediction"), (224, 300)))
        rows = [grid] if legend is None else [grid, legend(grid.shape[1])]
        save_picture(Image.fromarray(below(*rows)), out / PICTURES)
    write_metrics(out / METRICS, numbers, command)


def comparison(other: Path, name: str, found: Interval, margin: float | None) -> dict[str, Any]:
    """A paired difference for a metrics file, printed as well."""
    line = f"{name}: this minus {other}: {found}"
    result: dict[str, Any] = {"against": str(other), "score": name, "difference": asdict(found)}
    if margin is not None:
        result |= {"margin": margin, "equal_within_margin": found.within(margin)}
        line += f"; {'equal' if found.within(margin) else 'not shown to be equal'} within ±{margin:g}"
    print(line)
    return result


def as_array(groups: Groups) -> dict[str, np.ndarray]:
    """Groups for per_image.npz."""
    return {"groups": np.array(groups.names)}


def print_scores(title: str, scores: Mapping[str, Interval], groups: Groups, unit: str = "images") -> None:
    """A table of scores with intervals.

    Args:
        title: of the table. scores: by name.
        groups: what was resampled. unit: what the scores are over.
    """
    first = next(iter(scores.values()))
    caption = f"intervals resample {first.groups} groups: {groups.kind}"
    warning = groups.warning()
    table = Table(
        title=f"{title} ({first.count} {unit})",
        title_justify="left",
        caption=f"{caption}\n{warning}" if warning else caption,
        caption_justify="left",
    )
    for column in ("score", "value", "95 % interval"):
        table.add_column(column)
    for name, interval in scores.items():
        table.add_row(name, f"{interval.mean:.3f}", interval.limits(between=" to "))
    Console().print(table)
