"""`codistill fit TASK …`: dispatches to one file per task."""

import importlib

from codistill.errors import ConfigError, unknown_name

TASKS = {
    "segmentation": "codistill.commands.fit_segmentation:main",
    "depth": "codistill.commands.fit_depth:main",
    "people": "codistill.commands.fit_people:main",
    "relocalization": "codistill.commands.fit_relocalization:main",
    "knn": "codistill.commands.fit_knn:main",
    "linear": "codistill.commands.fit_linear:main",
}
"""Tasks by name; each function takes the remaining arguments."""


def main(argv: list[str]) -> int:
    """Fit one task's head; `codistill fit TASK --help` says more."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: codistill fit {'|'.join(TASKS)} [arguments]")
        return 0 if argv else 2
    if argv[0] not in TASKS:
        raise ConfigError(unknown_name("task", argv[0], TASKS))
    module, function = TASKS[argv[0]].split(":")
    return getattr(importlib.import_module(module), function)(argv[1:])
