"""Objects in a user's own Python file, given as `file.py:NAME`: recipes, loss terms, projectors."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codistill.errors import ConfigError, unknown_name

MARK = ".py:"


def is_own(text: str) -> bool:
    """Whether a text has the form `file.py:NAME`, in contrast to a name in a table."""
    return MARK in text


def own_name(text: str) -> str:
    """NAME of `file.py:NAME`; any other text unchanged."""
    return text.rpartition(":")[2] if is_own(text) else text


def with_own_path(text: str, change: Callable[[str], str]) -> str:
    """Change the path in `file.py:NAME`; any other text is unchanged."""
    if not is_own(text):
        return text
    file, _, name = text.rpartition(":")
    return f"{change(file)}:{name}"


def own_object(text: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    """Return the object of `file.py:NAME`, after importing the file.

    Args:
        text: `file.py:NAME`; the path may begin with `~` or a variable.
        kind: name of the object's kind, for errors.
        fits: whether an object is of that kind.

    Raises:
        ConfigError: if the file or object is missing (lists fitting objects), or the object does not fit.
    """
    file, _, name = text.rpartition(":")
    path = Path(os.path.expandvars(file)).expanduser()
    if not path.is_file():
        raise ConfigError(f"{path}: no such file. Give the {kind} as path/to/file.py:NAME.")
    spec = importlib.util.spec_from_file_location(f"codistill_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their annotations there
    spec.loader.exec_module(module)
    own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    if name not in own:
        raise ConfigError(f"{path}: {unknown_name(kind, name, (key for key in own if fits(own[key])))}")
    if not fits(own[name]):
        raise ConfigError(f"{text} is no {kind}; its type is {type(own[name]).__name__}")
    return own[name]
