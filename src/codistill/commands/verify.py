"""`codistill verify DIR`: numerical compatibility with the published implementations, one line per check.

Exit code 0 if everything passed, 1 if a check failed, 2 if the folder itself is damaged.
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codistill.commands.parsers.verify import parse
from codistill.errors import DataError
from codistill.verify.check import CheckResult
from codistill.verify.suite import SUITES, run_suite
from codistill.weights.shipped import CARD, model_folders

MODELS = Path("models")
"""The folder of models; the library's shipped models are checked if it does not exist here."""
MARKS = {"passed": "ok    ", "failed": "FAILED", "absent": "absent"}


def line_of(result: CheckResult) -> str:
    """One line of the report."""
    difference = (
        "" if math.isnan(result.difference) else f"{result.difference:.2e} (<= {result.tolerance:.0e})"
    )
    detail = f"  {result.detail}" if result.detail and result.status != "passed" else ""
    return f"{MARKS[result.status]}  {result.name:<72} {difference}{detail}"


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    folder: Path = arguments.folder
    if arguments.folder == MODELS and not folder.exists():
        folder = model_folders()[-1]
        print(f"no folder {MODELS} here: checking the models that ship, in {folder}", file=sys.stderr)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with recorded numbers (see docs/verify.md)")
    counts = dict.fromkeys(MARKS, 0)
    checks: list[dict[str, Any]] = []
    for suite in arguments.only or _suites(folder):
        for result in run_suite(suite, folder):
            counts[result.status] += 1
            if arguments.quiet and result.status != "failed":
                continue
            checks.append(_plain(result))
            if not arguments.json:
                print(line_of(result), flush=True)
    if arguments.json:
        print(json.dumps({**counts, "checks": checks}, indent=2))
    else:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['absent']} absent")
    if counts["passed"] + counts["failed"] == 0:
        raise DataError(
            f"{folder}: holds none of the recorded numbers that codistill knows (see docs/verify.md)"
        )
    return 1 if counts["failed"] else 0


def _plain(result: CheckResult) -> dict[str, Any]:
    """A result for JSON, which has no NaN."""
    difference = result.difference if math.isfinite(result.difference) else None
    return {**asdict(result), "difference": difference}


def _suites(folder: Path) -> list[str]:
    """The suites for a folder, which holds either models or recorded numbers."""
    if any(folder.glob(f"*/{CARD}")):
        return [str(MODELS)]
    return [name for name in SUITES if name != str(MODELS)]
