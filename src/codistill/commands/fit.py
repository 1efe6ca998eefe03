"""`codistill fit TASK …`: dispatches to one file per task."""

from codistill.commands.dispatch import run_part

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
    return run_part("fit", "task", TASKS, argv)
