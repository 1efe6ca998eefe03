"""The option `--json FILE` of the benchmarks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codistill.tasks.shared.record import write_metrics


def write_numbers(path: Path | None, benchmark: str, numbers: Mapping[str, Any], argv: list[str]) -> None:
    """Write a metrics file and print its path; does nothing if the path is None."""
    if path:
        write_metrics(path, {"benchmark": benchmark, **numbers}, ["bench", benchmark, *argv])
        print(f"wrote {path}")
