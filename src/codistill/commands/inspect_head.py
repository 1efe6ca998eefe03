"""`codistill inspect` of a folder of `codistill fit`: encoder, features, data, fit."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from codistill.files.json_files import read_json
from codistill.tasks.shared.head_files import RECORD, TENSORS, is_head, read_record
from codistill.weights.contents import count_parameters
from codistill.weights.read import read_checkpoint

_SAID_ELSEWHERE = ("encoder", "name", "licence")


def is_fit_folder(folder: Path) -> bool:
    """Whether a folder holds a head, or the run of an unfinished fit of a head (not of a student)."""
    run = folder / "run"
    if is_head(folder) or not (run / "config.yaml").is_file():
        return is_head(folder)
    described = run / "describe.json"
    return not described.is_file() or read_json(described).get("kind") != "student"


def describe_head(folder: Path) -> dict[str, Any]:
    """A head as plain data.

    Raises:
        CheckpointError: if its fit has not finished, or a file is damaged.
    """
    record = read_record(folder)
    tensors = read_checkpoint(folder / TENSORS)
    trained_from = record.encoder.trained_from
    return {
        "task": record.task,
        "layout": f"codistill head ({RECORD}, {TENSORS})",
        "encoder": record.features.encoder
        + (f" (trained with the head, from {trained_from})" * bool(trained_from)),
        "licence": record.encoder.licence,
        "features": {
            name: value
            for name, value in asdict(record.features).items()
            if value is not None and name not in _SAID_ELSEWHERE
        },
        "parameters": count_parameters(tensors),
        "config": record.head,
        "data": _short(asdict(replace(record.data, classes=()))),
        "test": record.test,
        "fit": _short(record.fit),
        "command": record.provenance.get("command"),
        "time": record.provenance.get("time"),
    }


def _short(facts: dict[str, Any]) -> dict[str, Any]:
    """The record without lists (such as classes and scores) and empty values."""
    return {
        name: value for name, value in facts.items() if value != "" and not isinstance(value, (list, dict))
    }
