"""Check a recipe against what is known of its teachers and student before any weights are read.

Teachers are loaded one after the other, and may be downloaded first: an error in the third must not appear only after
the first two are loaded. What is not known beforehand is checked when the teacher is loaded.
"""

import torch

from codistill.distill.hadamard import hadamard
from codistill.distill.losses import DistillationLoss
from codistill.encoders.facts import EncoderFacts, facts_of
from codistill.encoders.network import network_spec
from codistill.errors import ConfigError
from codistill.recipes.fresh_student import student_shape
from codistill.recipes.idle import refuse_heads
from codistill.recipes.recipe import Recipe
from codistill.student.projector_modules import StudentShape
from codistill.student.projectors import PROJECTORS, build_projector
from codistill.teachers.teacher import TeacherConfig, refuse_no_summary, refuse_pool, refuse_size
from codistill.types import TargetSpec, TokenKind


def check_beforehand(recipe: Recipe) -> None:
    """Refuse sizes that do not fit, summaries that a teacher lacks, losses and weights that train nothing.

    Raises:
        ConfigError: for the first of these; says what to change.
    """
    teachers = recipe.teachers
    if teachers and all(teacher.weight == 0 for teacher in teachers):
        raise ConfigError(
            f"the weights of all teachers ({', '.join(teacher.name for teacher in teachers)}) are 0, which trains "
            "nothing. Give one of them a weight, e.g. --teachers.0.weight 1"
        )
    shape = _check_student(recipe)
    kinds: set[TokenKind] = set()
    for teacher in teachers:
        facts = facts_of(teacher.encoder or teacher.name)
        check_teacher(teacher, facts)
        _check_mosaic(recipe, teacher, facts)
        _check_projector(recipe, shape, teacher, facts)
        if (
            recipe.distill.targets.transform == "phi_s"
            and facts.dim
            and "patch" in (teacher.kinds or ("patch",))
        ):
            hadamard(facts.dim)  # refuses widths without a rotation
        kinds |= set(teacher.kinds or (("cls", "patch") if facts.has_cls else ("patch",)))
    DistillationLoss(recipe.distill.loss).require(kinds)


def _check_student(recipe: Recipe) -> StudentShape:
    """Refuse sizes of which no student can be built; returns those that projectors need."""
    student = recipe.student
    if not student.network:
        built = student_shape(student, recipe.image_size)
        return StudentShape(dim=built.dim, depth=built.depth, num_heads=built.num_heads)
    spec = network_spec(student.network)
    if (stride := spec.patch_size) != student.patch_size:
        raise ConfigError(
            f"student.network {student.network} has {stride} pixels per token; student.patch_size says "
            f"{student.patch_size}. Add --student.patch-size {stride}, and image sizes that are multiples of it."
        )
    refuse_heads(
        student.projector, spec.dim, own=1
    )  # by default, a network's number of heads divides its width
    return StudentShape(dim=spec.dim, depth=spec.depth, num_heads=1)


def _check_projector(
    recipe: Recipe, student: StudentShape, teacher: TeacherConfig, facts: EncoderFacts
) -> None:
    """Refuse a projector that cannot give a teacher's widths, where these are known: it is built without memory."""
    config = recipe.student.projector
    if config.kind not in PROJECTORS or facts.dim is None or facts.has_cls is None:
        return
    kinds: tuple[TokenKind, ...] = teacher.kinds or (("cls", "patch") if facts.has_cls else ("patch",))
    wide = facts.cls_dim if set(kinds) == {"cls", "patch"} and facts.cls_dim != facts.dim else None
    dim = facts.dim if "patch" in kinds else facts.cls_dim or facts.dim
    target = TargetSpec(
        name=teacher.name, dim=dim, kinds=kinds, cls_dim=wide, pooled=teacher.pool_predictions
    )
    with torch.device("meta"):
        build_projector(config, student, target)


def _check_mosaic(recipe: Recipe, teacher: TeacherConfig, facts: EncoderFacts) -> None:
    """Refuse a canvas that has room for one image only, whatever size a step draws."""
    if not teacher.mosaic or teacher.image_size is None or facts.patch_size is None:
        return
    smallest = min(recipe.image_sizes or (recipe.image_size,)) // recipe.student.patch_size
    canvas = teacher.image_size // facts.patch_size
    if canvas < 2 * smallest:
        raise ConfigError(
            f"mosaic of teacher {teacher.name!r} would have no effect: images have {smallest} tokens per side, and its "
            f"canvas has {canvas}. Leave it out, or raise its image_size to {2 * smallest * facts.patch_size} at least."
        )


def check_teacher(teacher: TeacherConfig, facts: EncoderFacts) -> None:
    """Refuse a teacher whose configuration does not fit its encoder.

    Raises:
        ConfigError: says what to change.
    """
    what = teacher.encoder or teacher.name
    if facts.patch_size is not None:
        for size in teacher.own_sizes:
            refuse_size(teacher, size, facts.patch_size)
    if facts.has_cls is False:
        refuse_no_summary(teacher, what)
    if teacher.pool_predictions and facts.pools_patches is not None:
        both: tuple[TokenKind, ...] = ("cls", "patch") if facts.has_cls else ("patch",)
        refuse_pool(teacher, what, teacher.kinds or both, facts.pools_patches)
    if facts.only_normed and not teacher.norm:
        raise ConfigError(
            f"teacher {teacher.name!r} ({what}): a pooled summary exists only after the final norm. Leave out norm = "
            "false, or summary= behind the encoder's name."
        )
