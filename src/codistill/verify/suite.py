"""Run suites of numerical checks.

In: a suite's name and a folder. Out: the results of every part whose files exist. For other parts the missing file is
listed, but not counted.
"""

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from codistill.errors import CodistillError, DataError
from codistill.verify.check import CheckResult, absent, failed

SUITES = {
    "student": "codistill.verify.student:PARTS",
    "training": "codistill.verify.training:PARTS",
    "encoders": "codistill.verify.encoders:PARTS",
    "two-view": "codistill.verify.two_view:PARTS",
    "people": "codistill.verify.people:PARTS",
    "models": "codistill.verify.models:PARTS",
}
"""The module and attribute that hold the parts of each suite."""


@dataclass(frozen=True)
class Part:
    """Checks that need these files, passed in this order; `*` matches any text, the same in all of them."""

    title: str
    files: tuple[str, ...]
    run: Callable[..., Iterator[CheckResult]]


def run_suite(name: str, folder: Path) -> Iterator[CheckResult]:
    """Run the checks of one suite; a check that raises counts as failed, with the reason, and ends the suite.

    Raises:
        DataError: if a file of the folder cannot be read.
    """
    module, attribute = SUITES[name].split(":")
    try:
        for part in getattr(importlib.import_module(module), attribute):
            yield from _run_part(part, folder)
    except (OSError, SafetensorError, json.JSONDecodeError, CodistillError) as error:
        raise DataError(f"{folder}: damaged ({name} checks): {error}") from error
    except (KeyError, ValueError, RuntimeError, IndexError, TypeError) as error:
        yield failed(f"{name}: stopped", 0.0, f"{type(error).__name__}: {error}")


def _run_part(part: Part, folder: Path) -> Iterator[CheckResult]:
    """Run the part once for every text that matches `*` in its first file."""
    before, star, after = part.files[0].partition("*")
    found = sorted(folder.glob(part.files[0]))
    if not found:
        yield absent(part.title, part.files[0])
    for first in found:
        found_as = first.relative_to(folder).as_posix()
        text = found_as[len(before) : len(found_as) - len(after)] if star else ""
        paths = [folder / name.replace("*", text) for name in part.files]
        lacking = [path.name for path in paths if not path.exists()]
        if lacking:
            yield absent(part.title, lacking[0])
        else:
            yield from part.run(*paths)
