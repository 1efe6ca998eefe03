"""Metrics files: numbers with their provenance (command, commit, time, image count, interval), as JSON."""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from codistill.files.writing import write_atomic
from codistill.version import __version__


def commit_of(folder: Path) -> str | None:
    """Commit of the checkout that holds a folder, with `+changes` if files differ from it; None without a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if git("status", "--porcelain", "--untracked-files=no") else commit


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """Command, commit, versions and time, for a metrics file."""
    return {
        "command": shlex.join(["codistill", *command]),
        "commit": commit_of(Path(__file__).parent),
        "codistill": __version__,
        "torch": torch.__version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_metrics(path: Path, numbers: Mapping[str, Any], command: Sequence[str]) -> None:
    """Write a metrics file atomically; see `files/writing.py`."""
    text = json.dumps({**numbers, "provenance": provenance(command)}, indent=2) + "\n"
    write_atomic(path, text)
