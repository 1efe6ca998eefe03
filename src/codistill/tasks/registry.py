"""Tasks by name: a literal table of this package's, and those that installed packages add.

A package adds a task by an entry point of the group `codistill.tasks`, whose name is the task's and whose value is
`module:NAME` of a `Task`. Nothing is imported before a task is asked for.
"""

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from codistill.errors import ConfigError, unknown_name
from codistill.tasks.task import Task

TASKS = {
    "segmentation": "codistill.tasks.dense.segmentation.task:TASK",
    "depth": "codistill.tasks.dense.depth.task:TASK",
    "knn": "codistill.tasks.classification.task:KNN",
    "linear": "codistill.tasks.classification.task:LINEAR",
}
"""`MODULE:NAME` of each `Task`."""

GROUP = "codistill.tasks"


@cache
def added_tasks() -> dict[str, EntryPoint]:
    """Tasks that installed packages add, by name; those of this package cannot be replaced."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in TASKS}


def task_names() -> list[str]:
    """All tasks that are known."""
    return [*TASKS, *added_tasks()]


def find_task(name: str) -> Task:
    """A task.

    Raises:
        ConfigError: if there is no such task, or an installed package's cannot be imported.
    """
    if name in TASKS:
        module, attribute = TASKS[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    added = added_tasks()
    if name not in added:
        raise ConfigError(unknown_name("task", name, task_names()))
    try:
        task = added[name].load()
    except Exception as error:  # whatever another package's code raises
        raise ConfigError(f"the task {name!r} ({added[name].value}) cannot be imported: {error}") from error
    if not isinstance(task, Task):
        raise ConfigError(f"the entry point {name!r} of {GROUP} is {type(task).__name__}, not a Task")
    return task
