"""Freed blocks stay in the process: memory that is allocated again costs few page faults."""

import subprocess
import sys

import pytest

from codistill.nn.host_memory import keep_freed_memory

FAULTS = """
import resource, sys, torch
from codistill.nn.host_memory import keep_freed_memory
if not keep_freed_memory():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for size in range(4, 32):  # each larger than the one before, which glibc takes from the system and returns to it
    torch.ones(size, 2**18)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone returns freed blocks at once")
def test_blocks_that_are_allocated_again_cost_few_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("the C library of this system has no mallopt, or refuses its settings")
    assert done.returncode == 0, done.stderr
    # 490 MiB in all are 125,440 pages; the largest block, 31 MiB, and the pad of 64 MiB are 24,320.
    assert int(done.stdout) < 40_000


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
