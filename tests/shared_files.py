"""Where recorded numbers, real weights and photographs lie: in the repository, where variables say, or beside it."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN_GOLDEN = ROOT / "tests" / "golden"


def _place(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or ROOT.parent / "shared" / name)


GOLDEN = _place("CODISTILL_GOLDEN", "golden")
WEIGHTS = _place("CODISTILL_WEIGHTS", "weights")
DATA = _place("CODISTILL_DATA", "data")
needs_golden = pytest.mark.skipif(
    not (GOLDEN / "dune_nano_released_layout.pth").is_file(),
    reason="needs the large recorded numbers: CODISTILL_GOLDEN names their folder",
)


def golden(name: str) -> Path:
    """A file or folder of recorded numbers; the test is skipped where it is neither here nor in their folder."""
    for folder in (GOLDEN, OWN_GOLDEN):
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is too large for the repository: CODISTILL_GOLDEN names a folder that has it")


def copied(folder: Path, *names: str) -> Path:
    """The folder, with copies of recorded files that a test may change."""
    for name in names:
        shutil.copy(golden(name), folder / name)
        (folder / name).chmod(0o644)
    return folder


def weights(name: str = "dinov2_vits14_fp16.safetensors") -> Path:
    """A file of real weights; the test is skipped where it is missing."""
    if not (WEIGHTS / name).is_file():
        pytest.skip(f"{name} is missing: CODISTILL_WEIGHTS names a folder that has it")
    return WEIGHTS / name


def photographs(pattern: str) -> list[Path]:
    """Files of the data set real-mini that fit a pattern, sorted; the test is skipped where there are none."""
    found = sorted((DATA / "real-mini").glob(pattern))
    if not found:
        pytest.skip("the photographs of real-mini are missing: CODISTILL_DATA names a folder that has them")
    return found
