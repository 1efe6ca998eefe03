"""`codistill evaluate TASK …`: dispatches to one file per task."""

from codistill.commands.dispatch import run_part

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
    return run_part("evaluate", "task", TASKS, argv)
