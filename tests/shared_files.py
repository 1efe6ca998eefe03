"""Where recorded numbers, real weights and photographs lie: in the repository, or beside the checkout."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CODISTILL_SHARED", ROOT.parent / "shared"))
GOLDEN = Path(os.environ.get("CODISTILL_GOLDEN") or SHARED / "golden")
OWN_GOLDEN = ROOT / "tests" / "golden"


def golden(name: str) -> Path:
    """A file or folder of recorded numbers; the test is skipped where it is neither here nor beside the checkout."""
    for folder in (GOLDEN, OWN_GOLDEN):
        if (folder / name).exists():
            return folder / name
    pytest.skip(
        f"{name} is not there: too large for the repository; CODISTILL_GOLDEN names a folder that has it"
    )


def shared(name: str) -> Path:
    """A file or folder beside the checkout (weights, photographs); the test is skipped where it is missing."""
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not there; CODISTILL_SHARED names a folder that has it")
    return SHARED / name
