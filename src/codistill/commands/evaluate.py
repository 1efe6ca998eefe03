"""`codistill evaluate TASK …`: dispatches to one file per task."""

import importlib

from codistill.errors import ConfigError, unknown_name

TASKS = {
    "distillation": "codistill.commands.evaluate_distillation:main",
    "segmentation": "codistill.commands.evaluate_segmentation:main",
    "depth": "codistill.commands.evaluate_depth:main",
    "relocalization": "codistill.commands.evaluate_relocalization:main",
    "multiview-depth": "codistill.commands.evaluate_multiview_depth:main",
    "multiview-pose": "codistill.commands.evaluate_multiview_pose:main",
    "people": "codistill.commands.evaluate_people:main",
    "knn": "codistill.commands.evaluate_knn:main",
    "linear": "codistill.commands.evaluate_linear:main",
}
"""Tasks by name; each function takes the remaining arguments."""


def main(argv: list[str]) -> int:
    """Run one task's evaluation; `codistill evaluate TASK --help` says more."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: codistill evaluate {'|'.join(TASKS)} [arguments]")
        return 0 if argv else 2
    if argv[0] not in TASKS:
        raise ConfigError(unknown_name("task", argv[0], TASKS))
    module, function = TASKS[argv[0]].split(":")
    return getattr(importlib.import_module(module), function)(argv[1:])
