"""Costs of cells: operations, counted as by `codistill plan`, and seconds, measured or expected."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from codistill.analysis.correlation import correlations_of_run
from codistill.bench.machine import where
from codistill.engine.distributed import DeviceChoice, choose_device
from codistill.engine.logging import METRICS as METRICS_LOG
from codistill.engine.logging import VALIDATION
from codistill.errors import CodistillError, ConfigError
from codistill.files.json_files import read_json
from codistill.nn.precision import Precision, in_bf16
from codistill.recipes.plan import plan_run, work_of
from codistill.study.cells import Cell
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder
from codistill.study.records import attempts, read_cell
from codistill.tasks.evaluation import METRICS
from codistill.tasks.shared.record import provenance

SHARE = 0.5
"""Share of the speed of one large product that a training is expected to reach, until a training was measured."""
_PRODUCT, _SECONDS = 768, 0.3


def facts_of(
    cell: Cell, seconds: float, folder: StudyFolder, device: DeviceChoice, *, cached: bool = False
) -> dict[str, Any]:
    """Facts that are recorded for a finished cell, in addition to its result.

    Args:
        cell: the finished cell.
        seconds: of all attempts at it together.
        folder: of the study.
        device: `auto`, `cpu` or `cuda`, as given to its command.
        cached: whether trainings could read targets of earlier ones, so that their seconds say little.

    Raises:
        CodistillError: if a file that the cell should have written is missing.
    """
    facts: dict[str, Any] = {
        "seconds": round(seconds, 1),
        "attempts": len(attempts(folder, cell.name)),
        "machine": where(choose_device(device)),
    }
    if cell.kind == "evaluation":
        facts["images"] = read_json(cell.out / METRICS)["images"]
        return facts
    if cell.kind == "training":
        facts |= {"flops": training_flops(cell), "metrics": last_metrics(cell.out / METRICS_LOG)}
        if cell.recipe is not None:
            bf16 = in_bf16(choose_device(device), cell.recipe.engine.precision)
            facts["precision"] = "bf16" if bf16 else "fp32"
        if cached:
            facts["target_cache"] = True
        if pairs := correlations_of_run(cell.out):
            facts["loss_correlation"] = [pair.as_json() for pair in pairs]
        facts |= {"validation": found} if (found := last_metrics(cell.out / VALIDATION)) else {}
    return facts | {"provenance": provenance(cell.words)}


def training_flops(cell: Cell) -> float | None:
    """Operations of a whole training; None if those of a teacher cannot be counted."""
    assert cell.recipe is not None
    try:
        work = work_of(cell.recipe)
    except CodistillError:
        return None
    return work.total * work.images * cell.recipe.total_steps


def last_metrics(path: Path) -> dict[str, float]:
    """The last value of each number in a run's log."""
    found: dict[str, float] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        values = json.loads(line)
        found |= {name: value for name, value in values.items() if isinstance(value, int | float)}
    return found


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a cell (None: unknown); `why` says how they were found."""

    seconds: float | None
    why: str


def machine_rate(device: DeviceChoice, precision: Precision) -> float:
    """Operations per second of a 768 x 768 matrix product on this machine; the best within a third of a second."""
    place = choose_device(device)
    dtype = torch.bfloat16 if in_bf16(place, precision) else torch.float32
    left, right = torch.randn(2, _PRODUCT, _PRODUCT, device=place, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(left, right)
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        best = min(best, time.perf_counter() - start)
    return 2 * _PRODUCT**3 / best


def estimates(
    study: StudyConfig, cells: Sequence[Cell], folder: StudyFolder, rate: float | None, device: DeviceChoice
) -> dict[str, Estimate]:
    """Estimate the seconds of each cell.

    Args:
        study: gives the expected minutes of evaluations.
        cells: the cells to estimate.
        folder: its finished cells give the best estimates.
        rate: operations per second of a training; None: as in finished trainings, otherwise estimated on this machine.
        device: device of the trainings.
    """
    records = {cell.name: read_cell(folder, cell.name) for cell in cells}
    spent = _spent(cells, records)
    why = "--gflops"
    if rate is None:
        rates = [
            r["flops"] / r["seconds"]
            for r in records.values()
            if r and r.get("flops") and r["seconds"] and not r.get("target_cache")
        ]
        why = "as finished ones" if rates else f"{SHARE:.0%} of one product's speed here"
        rate = statistics.median(rates) if rates else None
    precisions: set[Precision] = {
        cell.recipe.engine.precision for cell in cells if cell.recipe and rate is None
    }
    reached: dict[Precision, float] = {
        precision: SHARE * machine_rate(device, precision) for precision in precisions
    }
    found: dict[str, Estimate] = {}
    trainings: dict[str, Estimate] = {}  # the same for all seeds of a row
    for cell in cells:
        minutes = study.evaluations[cell.what].minutes if cell.kind == "evaluation" else None
        if cell.kind == "training":
            trainings[cell.row] = trainings.get(cell.row) or _training(cell, cells, rate, reached, why)
            found[cell.name] = trainings[cell.row]
        elif cell.name in spent:
            found[cell.name] = Estimate(spent[cell.name], "as finished ones")
        else:
            known = minutes is not None
            found[cell.name] = Estimate(
                60 * minutes if minutes is not None else None, "minutes" if known else ""
            )
    return found


def _training(
    cell: Cell, cells: Sequence[Cell], rate: float | None, reached: Mapping[Precision, float], why: str
) -> Estimate:
    assert cell.recipe is not None
    # A teacher that is another row's student has no file yet, but that row's recipe tells its size.
    rows = {str(one.out / "export"): one for one in cells if one.recipe and not (one.out / "export").exists()}
    teachers = tuple(
        replace(one, encoder=f"runs/{rows[one.encoder].name}") if one.encoder in rows else one
        for one in cell.recipe.teachers
    )
    recipes = {one.name: one.recipe for one in rows.values() if one.recipe}
    try:
        rate = rate or reached[cell.recipe.engine.precision]
        work = work_of(replace(cell.recipe, teachers=teachers), recipes)
        plan = plan_run(cell.recipe, work, 1, rate, float("inf"))
    except ConfigError as error:
        return Estimate(None, str(error))
    return Estimate(3600 * plan.hours, why)


def _spent(cells: Sequence[Cell], records: Mapping[str, Mapping[str, Any] | None]) -> dict[str, float]:
    """Median seconds of finished cells of the same kind and name."""
    known: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if record := records[cell.name]:
            known.setdefault((cell.kind, cell.what), []).append(float(record["seconds"]))
    return {
        cell.name: statistics.median(known[cell.kind, cell.what])
        for cell in cells
        if (cell.kind, cell.what) in known
    }
