"""The errors that users meet: each says what was given, what is allowed, and what to do.

Everything that codistill raises on purpose for bad input derives from `CodistillError`, so that a caller can
tell "your file is damaged" from a bug. The classes also derive from the built-in error a Python user expects.
"""

import difflib
from collections.abc import Iterable
from numbers import Real


class CodistillError(Exception):
    """Base of every error that codistill raises for bad input.

    Attributes:
        exit_code: exit code of a command that ends with this error.
    """

    exit_code = 2


class ConfigError(CodistillError, ValueError):
    """A recipe, an option or an argument is wrong."""


class DataError(CodistillError, ValueError):
    """An image, a manifest, a shard or a folder cannot be used."""


class CheckpointError(CodistillError, ValueError):
    """A weights file, a run or an export cannot be used."""


class WriteError(DataError, CheckpointError):
    """A file or a folder cannot be written, for example because the disk is full or permissions forbid it."""


class StoreError(CodistillError, RuntimeError):
    """An object store (`s3://…`) refuses an object, lacks it, or fails for longer than the caller waits.

    It is not a `DataError`: a bad image is replaced by another one, but a failing store must not decide which images
    are seen.
    """


class StoppedError(CodistillError):
    """A run was asked to stop before its end; its progress is saved, and the same command resumes it.

    The exit code is BSD's EX_TEMPFAIL, "try again later" (sysexits.h). It is not 0, so that `fit && evaluate` stops
    there. It differs from the code of an error, so that a scheduler can tell which jobs to start again.
    """

    exit_code = 75


class MissingExtraError(CodistillError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'codistill[{extra}]'"
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Error text for an unknown name: it suggests the nearest known names, then lists all of them."""
    names = sorted(known)
    name = name if len(name) <= 100 else name[:97] + "..."
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or '(none)'}."


def check_least(config: object, *names: str, least: float = 1) -> None:
    """Raise ConfigError if one of these fields is less than `least` or no number; None is allowed."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (isinstance(value, Real) and float(value) >= least):
            raise ConfigError(f"{name} must be {least} or more; got {value}")
