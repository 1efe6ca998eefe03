"""Check models of `codistill bundle`: hashes of files, and outputs of encoder and heads on a computed picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from codistill.errors import CodistillError
from codistill.files.hashes import file_sha256
from codistill.tasks.probe import numbers_in, probe_encoder, probe_head
from codistill.verify.check import CheckResult, compare_tensors, failed, judged
from codistill.verify.suite import Part
from codistill.weights.shipped import read_card

TOLERANCE = 2e-3
"""Tolerance relative to the largest number of a check; processors differ in the order of their sums."""


def checks_of_model(card: Path) -> Iterator[CheckResult]:
    """The checks of one model.

    Args:
        card: its card.json.
    """
    folder, said = card.parent, read_card(card.parent)
    name = said["name"]
    for file, expected in said["files"].items():
        path = folder / file
        if not path.is_file():
            yield failed(f"{name}: {file}", 0.0, "the file is missing")
            continue
        same = file_sha256(path) == expected
        yield judged(f"{name}: {file}", 0.0 if same else 1.0, 0.0, "another file than the card says")
    for part, expected in said["checks"].items():
        title = f"{name}: {part} on the computed picture"
        try:
            found: Any = _answer(folder, part, said["size"])
        except CodistillError as error:
            yield failed(title, TOLERANCE, str(error))
            continue
        yield _compared(title, found, expected)


def _answer(folder: Path, part: str, size: int) -> Any:
    return probe_encoder(folder, size) if part == "encoder" else probe_head(folder, part, size)


def _compared(name: str, found: Any, expected: Any) -> CheckResult:
    given, wanted = dict(numbers_in(found)), dict(numbers_in(expected))
    if given.keys() != wanted.keys():
        return failed(name, TOLERANCE, f"other numbers: {sorted(given.keys() ^ wanted.keys())[:5]}")
    first, second = (
        torch.tensor([numbers[key] for key in wanted], dtype=torch.float64) for numbers in (given, wanted)
    )
    return compare_tensors(name, first, second, TOLERANCE)


PARTS = (Part("models", ("*/card.json",), checks_of_model),)
