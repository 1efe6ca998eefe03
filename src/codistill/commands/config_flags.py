"""Build a config from flags of a command line, such as `--engine.total-steps 100`; bad flags raise ConfigError."""

import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import groupby
from typing import TypeVar

import tyro

from codistill.commands.mapping_flags import MAPPINGS
from codistill.errors import ConfigError

T = TypeVar("T")


def with_flags(config: T, flags: Sequence[str], prog: str) -> T:
    """A config with the fields from the command line.

    Raises:
        ConfigError: if one is unknown or its value is wrong, or they contradict each other.
    """
    if not flags:
        return config
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(type(config), default=config, args=list(flags), prog=prog, registry=MAPPINGS)
    except SystemExit as stop:  # tyro prints errors in a frame and ends the process
        error: BaseException | None = stop
        while error is not None and not isinstance(error, ConfigError):
            error = error.__context__
        reason = "" if error is not None else _unframed(said.getvalue())
        if stop.code and (error is not None or reason):
            raise error or ConfigError(reason) from None
        sys.stderr.write(said.getvalue())
        raise


def _unframed(text: str) -> str:
    """What tyro's frame says is wrong, as one line; empty if it says nothing. Pipes get frames without sides."""
    lines = [line.strip("│╭╮╰╯| ") for line in text.splitlines()][1:]  # the first one is the title
    groups = groupby(lines, lambda line: not line.strip("─-"))
    parts = [" ".join(part) for rule, part in groups if not rule]
    if not parts:
        return ""
    said = parts[0].removeprefix("Error parsing ")
    if len(parts) > 1 and parts[1].startswith(_REASONS):  # of a field with several types: one reason for each
        reasons = [one.partition(": ")[2] for one in parts[1].removeprefix(_REASONS).split(" - ") if one]
        said = f"{said.rstrip('.')} ({reasons[-1]})"  # None comes first
    for pattern, plain in _PLAIN:
        said = pattern.sub(plain, said)
    return said


_REASONS = "Got errors:"
_PLAIN = (
    (re.compile(r"invalid literal for int\(\) with base 10: ('[^']*')"), r"\1 is not a whole number"),
    (re.compile(r"could not convert string to float: ('[^']*')"), r"\1 is not a number"),
)
"""Python's own words for wrong numbers, and ours."""
