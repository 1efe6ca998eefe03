"""After a SIGKILL of the process that trains, neither its workers nor their fork server stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nobody_stays_after_a_kill(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["distill", "debug", "--out", str(run), "--loader.num-workers", "1", "--device", "cpu"]
    training = subprocess.Popen(
        [sys.executable, "-m", "codistill", *command, "--engine.total-steps", "100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        started = time.monotonic()
        while not (run / "metrics.jsonl").exists() and time.monotonic() - started < 120:
            assert training.poll() is None, "the training ended by itself"
            time.sleep(0.2)
        assert len(processes_of(training.pid)) >= 3  # itself, the fork server, a worker
        os.kill(training.pid, signal.SIGKILL)
        training.wait()
        deadline = time.monotonic() + 30
        while (left := processes_of(training.pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
    finally:
        for process in processes_of(training.pid):
            os.kill(process, signal.SIGKILL)
