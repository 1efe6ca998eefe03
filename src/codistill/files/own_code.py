"""Objects of a user's own Python file, by `file.py:NAME`: recipes, loss terms, projectors."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codistill.errors import ConfigError, unknown_name

MARK = ".py:"


def is_own(text: str) -> bool:
    """Whether a text is `file.py:NAME`, not the name of a table's row."""
    return MARK in text


def own_name(text: str) -> str:
    """NAME of `file.py:NAME`; any other text as it is."""
    return text.rpartition(":")[2] if is_own(text) else text


def with_own_path(text: str, change: Callable[[str], str]) -> str:
    """`file.py:NAME` with its path changed; any other text as it is."""
    if not is_own(text):
        return text
    file, _, name = text.rpartition(":")
    return f"{change(file)}:{name}"


def own_object(text: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    """The object of `file.py:NAME`; the file is imported.

    Args:
        text: its path may begin with `~` or a variable.
        kind: of the object, for errors.
        fits: whether an object is of that kind.

    Raises:
        ConfigError: if the file or object is missing (listing fitting ones), or the object does not fit.
    """
    file, _, name = text.rpartition(":")
    path = Path(os.path.expandvars(file)).expanduser()
    if not path.is_file():
        raise ConfigError(f"{path}: no such file. Give the {kind} as path/to/file.py:NAME.")
    spec = importlib.util.spec_from_file_location(f"codistill_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks up its annotations there
    spec.loader.exec_module(module)
    own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    if name not in own:
        raise ConfigError(f"{path}: {unknown_name(kind, name, (key for key in own if fits(own[key])))}")
    if not fits(own[name]):
        raise ConfigError(f"{text} is no {kind}; its type is {type(own[name]).__name__}")
    return own[name]
