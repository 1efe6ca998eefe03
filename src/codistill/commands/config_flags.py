"""Build a config from flags of a command line, such as `--engine.total-steps 100`; bad flags raise ConfigError."""

import io
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
    """The first paragraph in tyro's frame, as one line; empty if there is none. Pipes get frames without sides."""
    lines = [line.strip("│╭╮╰╯| ") for line in text.splitlines()][1:]  # the first one is the title
    parts = [list(part) for rule, part in groupby(lines, lambda line: not line.strip("─-")) if not rule]
    return " ".join(parts[0]).removeprefix("Error parsing ") if parts else ""
