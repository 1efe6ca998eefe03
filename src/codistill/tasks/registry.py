"""Find tasks by name: a literal table of the tasks of this package, and the tasks that installed packages add.

A package adds a task with an entry point in the group `codistill.tasks`: its name is the name of the task, its value
the `module:NAME` of a `Task`. The module of a task is imported on first use.
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
"""`MODULE:NAME` of the `Task` object, by name of the task."""


def task_names() -> list[str]:
    """Names of all tasks, including those of installed packages."""
    return [*TASKS, *added(ADDED, TASKS)]


def find_task(name: str) -> Task:
    """Import and return the task of that name.

    Raises:
        ConfigError: if the name is unknown, or the task of an installed package cannot be imported.
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
