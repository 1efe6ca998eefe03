"""Describe a student for its export, as plain data: architecture, teachers, licences."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from codistill.student.student import Student
from codistill.weights.architecture import architecture_fields
from codistill.weights.licences import inherited

FRESH = "unknown"
"""Licence of an encoder that starts from random weights: it inherits no other licence."""


def describe_student(
    student: Student, teachers: list[dict[str, Any]], *, std_floor: float, recipe: str
) -> Mapping[str, Any]:
    """Describe a student as plain data.

    Args:
        student: its encoder carries the licence of the weights it started from.
        teachers: the result of `TeacherBank.describe`, in the order of the student's teachers.
        std_floor: lower bound of the deviation in the target statistics.
        recipe: name of the recipe.
    """
    spec = student.encoder.spec
    licences = [str(teacher["licence"]) for teacher in teachers]
    if spec.licence != FRESH:
        licences.append(spec.licence)
    tokens = [{"token": target.token} if target.token else {} for target in student.targets]
    return {
        "kind": "student",
        "encoder": architecture_fields(student.encoder.config),
        "projector": asdict(student.projector_config),
        "teachers": [{**teacher, **token} for teacher, token in zip(teachers, tokens, strict=True)],
        "normalization": {"mean": list(spec.mean), "std": list(spec.std)},
        "std_floor": std_floor,
        "recipe": recipe,
        "licence": inherited(licences),
    }
