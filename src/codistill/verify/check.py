"""One numerical check against recorded numbers, whose result `codistill verify` prints.

In: computed and recorded values, and a tolerance. Out: a `CheckResult`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

CheckStatus = Literal["passed", "failed", "absent"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: file and quantity, e.g. `mast3r_nano_forward: 48x80/view1/conf`.
        difference: largest relative difference; NaN if nothing could be compared.
        tolerance: largest difference that passes.
        detail: shapes, the reason of a failure, or which file is missing.
        status: `absent` means that the folder lacks the file; such a check is listed but not counted.
    """

    name: str
    difference: float
    tolerance: float
    detail: str = ""
    status: CheckStatus = "passed"


def absent(name: str, filename: str) -> CheckResult:
    """The result of a check whose file is not in the folder."""
    return CheckResult(
        name=name, difference=float("nan"), tolerance=0.0, detail=f"no {filename}", status="absent"
    )


def failed(name: str, tolerance: float, reason: str) -> CheckResult:
    """The result of a check that could not be computed; `reason` says why."""
    return CheckResult(
        name=name, difference=float("nan"), tolerance=tolerance, detail=reason, status="failed"
    )


def judged(name: str, difference: float, tolerance: float, detail: str = "") -> CheckResult:
    """The result for a computed difference; NaN fails."""
    status: CheckStatus = "passed" if difference <= tolerance else "failed"
    return CheckResult(name=name, difference=difference, tolerance=tolerance, detail=detail, status=status)


def compare_numbers(name: str, got: float, expected: float, tolerance: float) -> CheckResult:
    """Compare two numbers by |got - expected| / |expected| (by the absolute difference if the expected one is 0)."""
    difference = abs(got - expected) / (abs(expected) or 1.0)
    return judged(name, difference, tolerance, f"got {got!r}, expected {expected!r}")


def compare_tensors(name: str, got: Tensor, expected: Tensor, tolerance: float) -> CheckResult:
    """Compare two tensors by max |got - expected| / max |expected|, in fp64.

    Shapes must agree. Integers and booleans are compared the same way; tolerance 0 requires equality.
    """
    if got.shape != expected.shape:
        return failed(name, tolerance, f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
    if expected.numel() == 0:
        return CheckResult(name=name, difference=0.0, tolerance=tolerance, detail="empty")
    got, expected = got.detach().double().cpu(), expected.detach().double().cpu()
    scale = float(expected.abs().max()) or 1.0
    difference = float((got - expected).abs().max()) / scale
    where = tuple(int(i) for i in torch.unravel_index((got - expected).abs().argmax(), expected.shape))
    return judged(name, difference, tolerance, f"{tuple(expected.shape)}, largest difference at {where}")
