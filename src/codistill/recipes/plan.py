"""The cost of a recipe on a number of GPUs: a recipe in, operations, times and bytes out.

Operations are counted, not estimated: a student and teachers of the recipe's sizes run once on the meta device. The
counts are divided by the rates of the machine. Each rate is an argument, and measured rates are better than the
defaults. Nothing is downloaded: a teacher's architecture is read from its file if that is on this machine (a run, an
export, a head's encoder), otherwise its size is read from its name.
"""

import os
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch

from codistill.encoders.load import load_encoder
from codistill.encoders.vit import TransformerEncoder, ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.products import count_flops
from codistill.nn.vit import ViTConfig, vit_config
from codistill.recipes.draws import draws_of
from codistill.recipes.fresh_student import build_encoder, student_shape, with_class_tokens
from codistill.recipes.recipe import Recipe
from codistill.recipes.sizes import view_plan
from codistill.student.student import Student
from codistill.teachers.teacher import TeacherConfig
from codistill.types import TargetSpec
from codistill.weights.shipped import find_shipped

_SIZE = re.compile(r"vit_?(tiny|small|base|large|giant|[tsblg](?![a-z]))_?(?:patch)?_?(8|14|16|32)?")
_LARGE: dict[str, dict[str, int | str]] = {
    "vit_pe_core_gigantic": {"dim": 1536, "depth": 50, "num_heads": 16, "hidden": 8960},
    "vit_pe_lang_gigantic": {"dim": 1536, "depth": 47, "num_heads": 16, "hidden": 8960},
    "vit_huge_plus": {"dim": 1280, "depth": 32, "num_heads": 20, "feed_forward": "swiglu", "hidden": 5120},
    "vit_giantopt": {"dim": 1536, "depth": 40, "num_heads": 16, "hidden": 6144},
    "vit_7b": {"dim": 4096, "depth": 40, "num_heads": 32, "feed_forward": "swiglu", "hidden": 8192},
}
"""Shapes of timm's large teachers, by the beginning of their names."""
_LETTERS = {"t": "tiny", "s": "small", "b": "base", "l": "large", "g": "giant"}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        peak: dense bf16 operations per second.
        link, network: bytes per second that it sends within its machine, and to other machines.
        price: dollars per hour.
    """

    peak: float
    link: float
    network: float
    price: float


GPUS = {
    "a100": Gpu(peak=312e12, link=300e9, network=25e9, price=2.0),
    "h100": Gpu(peak=989e12, link=450e9, network=50e9, price=3.0),
    "h200": Gpu(peak=989e12, link=450e9, network=50e9, price=3.5),
}
"""Peaks and links from the maker's data sheets; a port of 200 or 400 Gb/s per GPU; prices are round guesses."""
PER_MACHINE = 8


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations for one training image, images of a step, and bytes sent between GPUs in a step.

    Attributes:
        images: of a step, on average: steps of larger drawn sizes hold fewer.
        encoder, projectors: of the student, forward and backward, for one image, averaged over the images of all steps;
            with MESA, `encoder` includes the forward pass of the moving average.
        teachers: forward, by name, averaged in the same way; each counts only for the share of the images that it sees.
        gradient_bytes: of a step.
    """

    images: float
    encoder: float
    projectors: float
    teachers: Mapping[str, float]
    gradient_bytes: int

    @property
    def total(self) -> float:
        """Operations for one image."""
        return self.encoder + self.projectors + sum(self.teachers.values())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe's steps, and the seconds of one: `compute`, and `communication` if it does not overlap with it."""

    steps: int
    compute: float
    communication: float

    @property
    def hours(self) -> float:
        return self.steps * (self.compute + self.communication) / 3600


def teacher_shape(teacher: TeacherConfig, recipes: Mapping[str, Recipe]) -> ViTConfig:
    """Find a teacher's architecture: from its weights on this machine, the recipe of its run, or its name.

    Raises:
        ConfigError: if none of these tells it, or the teacher is not one of codistill's vision transformers.
        CheckpointError: if its file is damaged.
    """
    what = os.path.expandvars(teacher.encoder or teacher.name)
    first = what.split(",")[0]
    if what.startswith("random:") or find_shipped(first) is not None or Path(first).expanduser().exists():
        encoder = load_encoder(what)
        if isinstance(encoder, TransformerEncoder):
            return encoder.config
        raise ConfigError(
            f"teacher {teacher.name!r}: operations of a {type(encoder).__name__} are not counted"
        )
    name = (teacher.encoder or teacher.name).lower()
    before = recipe_of_run(teacher.encoder, recipes)
    if before is not None and before.student.network:
        raise ConfigError(
            f"teacher {teacher.name!r}: operations of {before.student.network} as a teacher are not counted"
        )
    if before is not None:
        return student_shape(before.student, before.image_size)
    large = next((shape for start, shape in _LARGE.items() if start in name), None)
    if large is not None:
        patch = re.search(r"patch(\d+)", name)
        side = int(patch.group(1)) if patch else 16
        return ViTConfig(patch_size=side, image_size=14 * side, **large)  # type: ignore[arg-type]
    size, patch_size = teacher_size(teacher)
    return vit_config(size, patch_size=patch_size, image_size=14 * patch_size)


def recipe_of_run(what: str, recipes: Mapping[str, Recipe]) -> Recipe | None:
    """Return the recipe whose run `runs/NAME` is."""
    return recipes.get(what.removeprefix("runs/")) if what.startswith("runs/") else None


def earlier_stages(recipe: Recipe, recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """List the recipes whose runs a recipe needs, as teachers or to start from, directly or not, in order."""
    found: list[Recipe] = []
    for what in (*(teacher.encoder for teacher in recipe.teachers), recipe.student.init):
        before = recipe_of_run(what, recipes)
        if before is None:
            continue
        for stage in (*earlier_stages(before, recipes), before):
            if stage.name not in {one.name for one in found}:
                found.append(stage)
    return found


def teacher_size(teacher: TeacherConfig) -> tuple[str, int]:
    """Read a teacher's size (`vit_large`) and patch size from its name.

    Raises:
        ConfigError: if the name does not contain them.
    """
    name = (teacher.encoder or teacher.name).lower()
    found = _SIZE.search(name)
    if found is None:
        raise ConfigError(
            f"teacher {teacher.name!r}: the size of {name!r} does not follow from its name; a plan takes vision "
            "transformers called like vit_large_14, dinov2_vits14 or vit_base_patch16"
        )
    stated = re.search(r"patch_size=(\d+)", name)
    patch = stated.group(1) if stated else found.group(2) or "14"
    return f"vit_{_LETTERS.get(found.group(1), found.group(1))}", int(patch)


def work_of(recipe: Recipe, recipes: Mapping[str, Recipe] | None = None) -> Work:
    """Count the operations of a recipe's student and teachers, at the sizes that its steps draw.

    Args:
        recipe: of the run.
        recipes: recipes by name, for teachers that are runs of theirs.
    """
    config = recipe.student
    shares = {teacher.name: share_of(recipe, teacher) for teacher in recipe.teachers}
    forward: dict[str, float] = {}
    targets = []
    configs = {teacher.name: teacher_shape(teacher, recipes or {}) for teacher in recipe.teachers}
    again = _seen_before(recipe, shares)
    drawn = draws_of(recipe, {name: shape.patch_size for name, shape in configs.items()})
    with torch.device("meta"):
        for teacher in recipe.teachers:
            shape, inputs = configs[teacher.name], drawn.teachers[teacher.name]
            targets.append(TargetSpec(name=teacher.name, dim=shape.dim, kinds=teacher.kinds or ("patch",)))
            counted = _forward_flops(shape, tuple(sorted(inputs.items())))
            forward[teacher.name] = shares[teacher.name] * counted
            if teacher.name in again:
                forward[teacher.name] = 0.0
        wanted = with_class_tokens(config, targets)
        more = max((target.token for target in wanted), default=0)
        student = Student(build_encoder(config, recipe.image_size, more), wanted, config.projector)
        if config.freeze_encoder:
            student.encoder.requires_grad_(False)
        encoder = _mean_flops(lambda images: student.encoder(images, norm=False), drawn.student)
        whole = _mean_flops(student, drawn.student)
        unshared = sum(
            (1.0 - share) * (_mean_flops(partial(_predicted, student, name), drawn.student) - encoder)
            for name, share in shares.items()
            if share < 1.0
        )
    trained = 3.0 - 2 * config.freeze_encoder  # the backward pass costs twice the forward one
    mesa = recipe.distill.mesa
    if mesa.weight:
        trained += 1 - mesa.start  # the moving average's forward pass
    count = sum(p.numel() for p in student.parameters() if p.requires_grad)
    return Work(
        images=drawn.images,
        encoder=trained * encoder,
        projectors=3 * (whole - encoder - unshared),
        teachers=forward,
        gradient_bytes=4 * count,
    )


@cache
def _forward_flops(shape: ViTConfig, inputs: tuple[tuple[tuple[int, int], float], ...]) -> float:
    """`_mean_flops` of a vision transformer; cached, because many teachers and rows of a study have the same shape.

    Without windows, all blocks are alike: one is counted, instead of all, which takes seconds.
    """
    if shape.depth > 2 and not shape.window:
        one, two = (_forward_flops(replace(shape, depth=depth), inputs) for depth in (1, 2))
        return one + (shape.depth - 1) * (two - one)
    with torch.device("meta"), torch.no_grad():
        network = ViTEncoder(replace(shape, image_size=max(max(size) for size, _ in inputs)))
        return _mean_flops(network, dict(inputs))


def _seen_before(recipe: Recipe, shares: Mapping[str, float]) -> set[str]:
    """Find teachers whose encoder already runs for an earlier teacher on the same inputs: it runs once for both."""
    known: set[Hashable] = set()
    found: set[str] = set()
    for teacher in recipe.teachers:
        same = (
            teacher.encoder or teacher.name,
            teacher.precision,
            teacher.norm,
            teacher.own_sizes,
            teacher.mosaic,
        )
        if view_plan(recipe) is None and shares[teacher.name] == 1.0 and teacher.precision != "int8":
            found |= {teacher.name} if same in known else set()
            known.add(same)
    return found


def _predicted(student: Student, teacher: str, images: torch.Tensor) -> object:
    """Run the student's encoder and one of its projectors."""
    outputs = student.encoder.intermediate(images, student.projector_blocks, norm=False)
    return student.project(outputs, teacher)


def _mean_flops(network: Callable[[torch.Tensor], object], inputs: Mapping[tuple[int, int], float]) -> float:
    """Operations of a network per training image, given the number of inputs per image of each size (rows, columns)."""
    each = {size: torch.empty(1, 3, *size) for size in inputs}
    return sum(count_flops(lambda x=each[size]: network(x)) * number for size, number in inputs.items())


def share_of(recipe: Recipe, teacher: TeacherConfig) -> float:
    """Share of the images that a teacher sees; sources that the recipe mixes as one group share it by their sizes."""
    sharing, mode, weights = recipe.distill.sharing, recipe.mix.mode, dict(recipe.mix.weights)
    if sharing.mode == "full" or not sharing.skip_untaught or not recipe.training_sources:
        return 1.0
    groups: dict[str, list[tuple[bool, int]]] = {}
    for source in recipe.training_sources:
        taught = sharing.teaches(teacher.domain, source.domain, source.name)
        group = source.name if source.name in weights else "" if mode == "proportional" else source.domain
        groups.setdefault(group, []).append((taught, source.expected or 1))
    parts = {
        name: sum(n for taught, n in group if taught) / sum(n for _, n in group)
        for name, group in groups.items()
    }
    total = sum(weights.get(name, 1.0) for name in parts)
    return sum(weights.get(name, 1.0) * part for name, part in parts.items()) / total


def plan_run(recipe: Recipe, work: Work, gpus: int, rate: float, network: float) -> Plan:
    """Divide the work of a recipe among GPUs.

    Args:
        recipe: gives the number of steps.
        work: `work_of(recipe)`.
        gpus: number of GPUs; each computes an equal part of every batch.
        rate: operations per second of one GPU.
        network: bytes per second that one GPU sends; gradients are reduced in a ring.
    """
    compute = work.images / gpus * work.total / rate
    communication = 2 * (gpus - 1) / gpus * work.gradient_bytes / network
    return Plan(steps=recipe.total_steps, compute=compute, communication=communication)
