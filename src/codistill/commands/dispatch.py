"""Run a command by its name: first its parser, which imports nothing heavy, then its function.

A command's module and its parser's module have the same name: `commands/segment.py` and `commands/parsers/segment.py`.
"""

import importlib
import os
from collections.abc import Mapping

from codistill.errors import ConfigError, unknown_name

PARSERS = "codistill.commands.parsers"


def refuse_several(command: str) -> None:
    """Check that this process is not one of several by torchrun, which would all do the same work and write one place.

    Raises:
        ConfigError: if it is.
    """
    several = os.environ.get("WORLD_SIZE", "1")
    if several not in ("", "1"):
        raise ConfigError(
            f"{command} runs in one process, but WORLD_SIZE is {several}: start it without torchrun, or unset it"
        )


def run(target: str, argv: list[str]) -> int:
    """Run a command, `MODULE:FUNCTION`.

    The parser's `parse(argv)` is called first. It answers --help and refuses wrong options before PyTorch is imported,
    which takes seconds. The command then parses the arguments again.
    """
    name = target.partition(":")[0].rpartition(".")[2]
    importlib.import_module(f"{PARSERS}.{name}").parse(argv)
    return call(target, argv)


def call(target: str, argv: list[str]) -> int:
    """Import `MODULE:FUNCTION` and call it with the arguments; returns its exit code."""
    module, function = target.split(":")
    return getattr(importlib.import_module(module), function)(argv)


def run_part(command: str, what: str, parts: Mapping[str, str], argv: list[str]) -> int:
    """Run one of a command's parts, `codistill COMMAND PART …`.

    Args:
        command: name of the command.
        what: the word for a part in error messages.
        parts: `MODULE:FUNCTION` by name of the part.
        argv: the name of the part, and its arguments.

    Raises:
        ConfigError: for an unknown part.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: codistill {command} {'|'.join(parts)} [arguments]")
        return 0 if argv else 2
    if argv[0] not in parts:
        raise ConfigError(unknown_name(what, argv[0], parts))
    return run(parts[argv[0]], argv[1:])
