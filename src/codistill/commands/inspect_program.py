"""`codistill inspect` of an exported file: its record, as facts and a table of tensors."""

from pathlib import Path
from typing import Any

from codistill.files.plain import to_plain
from codistill.programs.opening import RECORDS


def describe_program(path: Path) -> dict[str, Any]:
    """The record of a `.onnx` or `.pt2` file of `codistill export`.

    Raises:
        CheckpointError: for other files.
    """
    record = to_plain(RECORDS[path.suffix.lower()](path))
    checks = {check["output"]: check for check in record.pop("checks")}
    ports = [("in", port) for port in record.pop("inputs")] + [
        ("out", port) for port in record.pop("outputs")
    ]
    rows = []
    for kind, port in ports:
        found = checks.get(port["name"], {})
        differences = {key: f"{found[key]:.2g}" if found else "" for key in ("largest", "mean")}
        axes = " x ".join(map(str, port["axes"]))
        row = {"": kind, "tensor": port["name"], "axes": axes, "type": port["dtype"], **differences}
        rows.append({**row, "meaning": port["meaning"]})
    return {**record, "tensors": rows}
