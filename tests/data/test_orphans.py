"""After a SIGKILL of the process that trains, neither its workers nor their fork server stay."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

import forked


def processes_of(session: int) -> list[int]:
    """Live processes of a session, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


IN_A_SESSION = "import os, sys, codistill.cli; os.setsid(); sys.exit(codistill.cli.main(sys.argv[1:]))"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nobody_stays_after_a_kill(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["distill", "debug", "--out", run, "--loader.num-workers", "1", "--device", "cpu"]
    training = forked.start(["-c", IN_A_SESSION, *command, "--engine.total-steps", "100000"])
    try:
        started = time.monotonic()
        while not (run / "metrics.jsonl").exists() and time.monotonic() - started < 120:
            assert training.poll() is None, "the training ended by itself"
            time.sleep(0.2)
        assert len(processes_of(training.pid)) >= 3  # itself, the fork server, a worker
        training.kill()
        training.wait()
        deadline = time.monotonic() + 30
        while (left := processes_of(training.pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
    finally:
        for process in processes_of(training.pid):
            os.kill(process, signal.SIGKILL)
