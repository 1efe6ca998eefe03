"""Read a command's log: the error of the last attempt, for a report, and its last line, for the display."""

import re
from pathlib import Path

PROMPT = "$ codistill "
"""Text before the command of each attempt in a log."""
_LINES = 4
_TAIL = 4096
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def last_lines(log: Path) -> list[str]:
    """From the last attempt, return the line that names the error, otherwise the last lines; [] without a log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in text.rpartition(f"\n{PROMPT}")[2].splitlines()[1:] if line.strip()]
    named = [line for line in lines if line.startswith("codistill ") and ": " in line]
    return named[-1:] or lines[-_LINES:]


def last_said(log: Path) -> str:
    """The last line, without the control codes of a terminal; "" without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in _CODES.sub("", text).replace("\r", "\n").splitlines()]
    return next((line for line in reversed(lines) if line), "")
