"""What programs and terminals get: JSON of checks, no colours where NO_COLOR says so."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from codistill.cli import main


def test_checks_of_a_world_as_json(tiny_world: Path, capsys: pytest.CaptureFixture) -> None:
    code = main(["world", "check", str(tiny_world), "--sample", "2", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["passed"] else 1)
    assert said["passed"] == all(check["passed"] for check in said["checks"]) and len(said["checks"]) > 3


def in_a_terminal(**environment: str) -> bytes:
    """What a progress bar writes to a terminal."""
    code = (
        "from codistill.commands.progress_bar import SampleProgress\n"
        "with SampleProgress('scoring') as bar: bar(1, 2)"
    )
    keep = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    outer, inner = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code],
        env={**keep, "TERM": "xterm-256color", **environment},
        stderr=inner,
        check=True,
    )
    os.close(inner)
    parts = []
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        parts.append(part)
    os.close(outer)
    return b"".join(parts)


def test_no_color_switches_colours_off() -> None:
    coloured, plain = in_a_terminal(), in_a_terminal(NO_COLOR="1")
    assert b"scoring" in coloured and b"scoring" in plain
    assert b"\x1b[38" in coloured or b"\x1b[3" in coloured
    assert b"\x1b[3" not in plain and b"\x1b[9" not in plain
