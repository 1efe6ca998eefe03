"""Tasks and encoders added by other installed packages, through entry points.

Their names are found without importing anything; an object is imported when it is needed.
"""

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from codistill.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TASKS, ENCODERS = "codistill.tasks", "codistill.encoders"
"""Groups of entry points: `MODULE:NAME` of a `Task`, and of a function without arguments that returns an `Encoder`."""


def added(group: str, own: Container[str]) -> "dict[str, EntryPoint]":
    """Find the entry points of a group by name, without this library's own names, which cannot be replaced."""
    from importlib.metadata import entry_points  # here: adds a fifth to a parser's time

    return {point.name: point for point in entry_points(group=group) if point.name not in own}


def load_added(point: "EntryPoint") -> Any:
    """Import the object of an entry point.

    Raises:
        ConfigError: if its package cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:  # another package's code can raise anything
        raise ConfigError(
            f"{point.name!r} of {point.group} ({point.value}) cannot be imported: {error}"
        ) from error
