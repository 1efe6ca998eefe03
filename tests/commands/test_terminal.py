"""What programs and terminals get: JSON of checks, no colours where NO_COLOR says so."""

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from codistill.cli import main
from codistill.commands.progress_bar import SampleProgress


def test_checks_of_a_world_as_json(tiny_world: Path, capsys: pytest.CaptureFixture) -> None:
    code = main(["world", "check", str(tiny_world), "--sample", "2", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["passed"] else 1)
    assert said["passed"] == all(check["passed"] for check in said["checks"]) and len(said["checks"]) > 3


def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a progress bar writes to a terminal."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with SampleProgress("scoring") as bar:
            bar(1, 2)
        terminal.flush()
        written = b""
        while b"scoring" not in written:  # a read returns what has arrived by then, which may be a part
            written += os.read(outer, 65536)
    os.close(outer)
    return written


def test_no_color_switches_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        coloured = in_a_terminal(patch)
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("NO_COLOR", "1")
        plain = in_a_terminal(patch)
    assert b"scoring" in coloured and b"scoring" in plain
    assert b"\x1b[3" in coloured
    assert b"\x1b[3" not in plain and b"\x1b[9" not in plain
