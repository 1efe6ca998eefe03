"""Records of finished and failed cells on disk: their inputs and costs, and whether they still fit the study.

The record of a finished evaluation keeps the evaluation's folder without pictures and head: metrics.json, and the
counts of every sample, from which confidence intervals and paired differences are computed anew.
"""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import CheckpointError, ConfigError
from codistill.files.config import changed_fields
from codistill.files.json_files import read_json, write_json
from codistill.files.npz import write_npz
from codistill.files.plain import from_plain, to_plain
from codistill.files.writing import make_directory, remove_quietly, write_atomic, write_bytes
from codistill.recipes.contents import content_of as content_of
from codistill.study.cells import Cell
from codistill.study.places import CELL, StudyFolder
from codistill.tasks.evaluation import METRICS
from codistill.tasks.shared.score_table import PER_IMAGE, read_stored

FORMAT = "codistill-study-cell"
_KINDS = {"config": dict, "contents": dict, "seconds": int | float, "flops": int | float | None}
"""Kinds of those entries of a record that are used."""
COMPUTED, CHOICES = ("bf16", "fp32"), ("fast", "auto")
"""Precisions, and settings that let the machine choose between them."""


def read_cell(folder: StudyFolder, name: str) -> dict[str, Any] | None:
    """Read the record of a finished cell; None if it is not finished.

    Raises:
        CheckpointError: if it is damaged.
    """
    path = folder.cell(name) / CELL
    if not path.is_file():
        return None
    record = read_json(path)
    if record.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is no record of a study's cell")
    wrong = [key for key, kind in _KINDS.items() if not isinstance(record.get(key), kind)]
    if wrong:
        raise damaged_record(path, ", ".join(wrong))
    return record


def damaged_record(path: Path, what: str) -> CheckpointError:
    """The error for a record in which something is missing or of another kind."""
    return CheckpointError(
        f"{path}: damaged ({what}). Copy it again, or delete it; the cell is then done again."
    )


def write_cell(folder: StudyFolder, cell: Cell, facts: Mapping[str, Any]) -> None:
    """Store a finished cell: the results first, the record last.

    Raises:
        WriteError: if it cannot be written.
    """
    place = folder.cell(cell.name)
    make_directory(place)
    if cell.kind == "evaluation":
        write_npz(place / PER_IMAGE, smallest(read_stored(cell.out)))
        write_bytes(place / METRICS, (cell.out / METRICS).read_bytes())
    record = {
        "format": FORMAT,
        "cell": cell.name,
        "kind": cell.kind,
        "command": ["codistill", *cell.words],
        "config": _finite(to_plain(dict(cell.config))),
        "contents": contents(cell),
        **facts,
    }
    write_json(place / CELL, record)
    remove_quietly(folder.failure(cell.name))


def remove_record(folder: StudyFolder, name: str) -> None:
    """Let a finished cell be unfinished, so that no table shows its result and an interrupted repetition resumes."""
    remove_quietly(folder.cell(name) / CELL)


_NO_JSON = {".inf": float("inf"), "-.inf": float("-inf")}
"""Numbers in configs that JSON cannot express (a confidence without a limit), as YAML writes them."""


def _finite(value: Any) -> Any:
    """A plain value in which infinities are text."""
    return _mapped(value, {number: text for text, number in _NO_JSON.items()}, float)


def _floats(value: Any) -> Any:
    """Undo `_finite`."""
    return _mapped(value, _NO_JSON, str)


def _mapped(value: Any, table: Mapping[Any, Any], kind: type) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(one, table, kind) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(one, table, kind) for one in value]
    return table.get(value, value) if isinstance(value, kind) else value


def smallest(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Store whole numbers in the smallest type that holds them; other arrays are unchanged."""
    found = dict(arrays)
    for name, array in arrays.items():
        if array.dtype.kind in "iu" and array.size:
            low, high = int(array.min()), int(array.max())
            types = ("u1", "u2", "u4") if low >= 0 else ("i1", "i2", "i4")
            fits = (t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
            found[name] = array.astype(next(fits, array.dtype))
    return found


def changes(cell: Cell, record: Mapping[str, Any]) -> list[str]:
    """List how a cell, as it would run now, differs from its finished record: options, and contents of its inputs."""
    try:
        config = _as_chosen(_floats(record["config"]), to_plain(dict(cell.config)))
        before = {name: _restored(value, cell.config.get(name)) for name, value in config.items()}
    except (ConfigError, KeyError, AttributeError) as error:
        return [f"its record cannot be read by this version ({error})"]
    found = changed_fields(before, dict(cell.config))
    old = record.get("contents", {})
    for name, now in contents(cell).items():
        if now and old.get(name) and old[name] != now and name not in cell.of_rows:
            found.append(f"{name} {cell.inputs[name]} holds something else now")
    return found


def _as_chosen(before: Any, now: Any) -> Any:
    """The plain config of a finished cell, in which a recorded precision is replaced by the setting asked for now.

    Only settings that leave the choice to the machine (`CHOICES`) replace a precision.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: _as_chosen(value, now.get(key)) for key, value in before.items()}
    if isinstance(before, list) and isinstance(now, list):
        return [_as_chosen(*pair) for pair in zip(before, now, strict=False)] + before[len(now) :]
    return now if before in COMPUTED and now in CHOICES else before


def from_other_row(cell: Cell, record: Mapping[str, Any]) -> bool:
    """Whether an input of the cell that is another cell's student has been trained anew since."""
    old, now = record.get("contents", {}), contents(cell)
    return any(now[name] and old.get(name) and now[name] != old[name] for name in cell.of_rows)


def _restored(value: Any, like: Any) -> Any:
    """Turn a plain value back into its dataclass, with defaults for fields that did not exist then."""
    return from_plain(type(like), value) if is_dataclass(like) and not isinstance(like, type) else value


def contents(cell: Cell) -> dict[str, str]:
    """SHA-256 of everything that the cell reads; "" for inputs that are not found (known names, other machines)."""
    return {name: content_of(text) for name, text in cell.inputs.items()}


def note_failure(folder: StudyFolder, cell: Cell, code: int, said: str) -> None:
    """Record that a cell failed, and the last output of its command."""
    path = folder.failure(cell.name)
    make_directory(path.parent)
    write_json(path, {"cell": cell.name, "code": code, "said": said, "log": str(folder.log(cell.name))})


def read_failure(folder: StudyFolder, name: str) -> dict[str, Any] | None:
    """Read the record of a failed cell; None if it did not fail."""
    path = folder.failure(name)
    return read_json(path) if path.is_file() else None


def add_attempt(folder: StudyFolder, cell: str, seconds: float, ended: str) -> None:
    """Record an attempt at a cell: how long it took, and how it ended.

    Raises:
        WriteError: if it cannot be written; earlier attempts stay.
    """
    path = folder.attempts(cell)
    make_directory(path.parent)
    every = [*attempts(folder, cell), {"seconds": round(seconds, 1), "ended": ended}]
    write_atomic(path, "".join(json.dumps(one) + "\n" for one in every))


def attempts(folder: StudyFolder, cell: str) -> list[dict[str, Any]]:
    """Read all attempts at a cell so far.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder.attempts(cell)
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise CheckpointError(
            f"{path}: damaged ({error}). Delete it: only the times of this cell's earlier attempts are lost."
        ) from error
