"""Tasks by name: a literal table of this package's tasks, and those of installed packages.

A package adds a task by an entry point of the group `codistill.tasks`, whose name is the task's and whose value is
`module:NAME` of a `Task`. A task's module is imported on its first use.
"""

import importlib

from codistill.errors import ConfigError, unknown_name
from codistill.files.added import TASKS as ADDED
from codistill.files.added import added, load_added
from codistill.tasks.task import Task

TASKS = {
    "segmentation": "codistill.tasks.dense.segmentation.task:TASK",
    "depth": "codistill.tasks.dense.depth.task:TASK",
    "correspondence": "codistill.tasks.correspondence.task:TASK",
    "semantic-correspondence": "codistill.tasks.correspondence.semantic:TASK",
    "normals": "codistill.tasks.dense.normals.task:TASK",
    "two-view": "codistill.tasks.two_view.task:TASK",
    "relocalization": "codistill.tasks.two_view.relocalize.task:TASK",
    "multiview-depth": "codistill.tasks.two_view.multiview.depth:TASK",
    "multiview-pose": "codistill.tasks.two_view.multiview.pose:TASK",
    "people": "codistill.tasks.people.task:TASK",
    "knn": "codistill.tasks.classification.task:KNN",
    "linear": "codistill.tasks.classification.task:LINEAR",
    "artefacts": "codistill.tasks.artefacts.task:TASK",
}
"""`MODULE:NAME` of each `Task`."""


def task_names() -> list[str]:
    """Names of all tasks, those of installed packages included."""
    return [*TASKS, *added(ADDED, TASKS)]


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: if it is unknown, or an installed package's cannot be imported.
    """
    if name in TASKS:
        module, attribute = TASKS[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    point = added(ADDED, TASKS).get(name)
    if point is None:
        raise ConfigError(unknown_name("task", name, task_names()))
    task = load_added(point)
    if not isinstance(task, Task):
        raise ConfigError(f"the entry point {name!r} of {ADDED} is {type(task).__name__}, not a Task")
    return task
