"""Additions of installed packages, by entry points: names without importing anything, and then their objects."""

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from codistill.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TASKS, ENCODERS = "codistill.tasks", "codistill.encoders"
"""Groups: `MODULE:NAME` of a `Task`; of a function without arguments that gives an `Encoder`."""


def added(group: str, own: Container[str]) -> "dict[str, EntryPoint]":
    """Entry points of a group by name, without this library's own names, which cannot be replaced."""
    from importlib.metadata import entry_points  # a fifth of the time of parsers without it

    return {point.name: point for point in entry_points(group=group) if point.name not in own}


def load_added(point: "EntryPoint") -> Any:
    """The object of an entry point.

    Raises:
        ConfigError: if its package cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:  # whatever another package's code raises
        raise ConfigError(
            f"{point.name!r} of {point.group} ({point.value}) cannot be imported: {error}"
        ) from error
