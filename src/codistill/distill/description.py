"""What an export says of a student: architecture, teachers, licences, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from codistill.student.student import Student
from codistill.weights.architecture import architecture_fields
from codistill.weights.licences import inherited

FRESH = "unknown"
"""Licence of an encoder that starts from random weights: it inherits none."""


def describe_student(
    student: Student, teachers: list[dict[str, Any]], *, std_floor: float, recipe: str
) -> Mapping[str, Any]:
    """The description of a student.

    Args:
        student: with its encoder's licence, of the weights it started from.
        teachers: as of `TeacherBank.describe`, in the order of the student's.
        std_floor: of the target statistics.
        recipe: its name.
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
