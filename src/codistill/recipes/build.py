"""From a recipe to things: teachers, student, objective, data. The only place where configurations meet builders."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from codistill.data import LoaderConfig, eval_loader, train_loader
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import check_sharing
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.vit import vit_config
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.student.load import load_any_student
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher
from codistill.types import Batch, TargetSpec


def build_bank(recipe: Recipe) -> TeacherBank:
    """The recipe's teachers, loaded."""
    teachers = []
    for config in recipe.teachers:
        what = os.path.expandvars(config.encoder or config.name)
        if "$" in what:
            raise ConfigError(f"teacher {config.name!r}: {what!r} uses a variable that is not set")
        teachers.append(Teacher(config, load_encoder(what)))
    return TeacherBank(teachers, recipe.student.patch_size)


def build_encoder(config: StudentConfig, image_size: int) -> ViTEncoder:
    """A fresh student encoder."""
    given = {
        name: value for name in ("dim", "depth", "num_heads") if (value := getattr(config, name)) is not None
    }
    vit = vit_config(
        config.size,
        patch_size=config.patch_size,
        image_size=image_size,
        num_registers=config.num_registers,
        layer_scale=config.layer_scale,
        drop_path=config.drop_path,
        **given,
    )
    return ViTEncoder(vit, name=config.size)


def build_student(recipe: Recipe, targets: tuple[TargetSpec, ...]) -> tuple[Student, list[str]]:
    """The student, fresh or from `student.init`.

    Returns:
        The student, and a line for each part that `init` had nothing for.

    Raises:
        ConfigError: if the encoder of `init` is another architecture.
    """
    config = recipe.student
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.engine.seed)
        student = Student(build_encoder(config, recipe.image_size), targets, config.projector)
    if config.freeze_encoder:
        student.encoder.requires_grad_(False)
    if not config.init:
        return student, []
    start = load_any_student(os.path.expandvars(config.init), image_size=recipe.image_size)
    fresh = copy_matching(start, student)
    if any(line.startswith("encoder.") for line in fresh):
        raise ConfigError(
            f"student.init {config.init!r} is another architecture than the recipe's student; it has nothing for: "
            f"{', '.join(fresh[:4])}. Its configuration: {getattr(start.encoder, 'config', None)}"
        )
    return student, fresh


@torch.no_grad()
def copy_matching(start: nn.Module, student: Student) -> list[str]:
    """Copy tensors of one name and shape; the student's names that found none."""
    given = start.state_dict()
    fresh = []
    for name, tensor in student.state_dict().items():
        if name in given and given[name].shape == tensor.shape:
            tensor.copy_(given[name])
        elif not name.endswith("mask_token"):
            fresh.append(name)
    return fresh


def build_objective(recipe: Recipe) -> tuple[DistillationObjective, list[str]]:
    """The objective of a recipe, and what its student starts without (see `build_student`)."""
    if not recipe.training_sources:
        raise ConfigError(f"recipe {recipe.name!r} has no image source: add --source NAME,DOMAIN,PATH")
    bank = build_bank(recipe)
    sources = {source.name: source.domain for source in recipe.training_sources}
    check_sharing(recipe.distill.sharing, bank.domains, sources)
    student, fresh = build_student(recipe, bank.target_specs())
    objective = DistillationObjective(
        student,
        bank,
        recipe.distill,
        validation_sources=[source.name for source in recipe.held_out_sources],
        recipe=recipe.name,
    )
    return objective, fresh


def loader_config(recipe: Recipe) -> LoaderConfig:
    """The loader's configuration at the recipe's image size."""
    return replace(recipe.loader, image_size=recipe.image_size)


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """Which part of the data a process takes, and where to."""

    rank: int = 0
    world_size: int = 1
    device: torch.device | str = "cpu"


def training_batches(recipe: Recipe, part: DataPart) -> Callable[[int], Iterable[Batch]]:
    """From a start step to this rank's batches from there on: `engine.accumulate` per step."""

    def batches(start_step: int) -> Iterable[Batch]:
        steps = train_loader(
            recipe.training_sources,
            recipe.mix,
            recipe.augment,
            loader_config(recipe),
            seed=recipe.engine.seed,
            rank=part.rank,
            world_size=part.world_size,
            start_step=start_step,
            total_steps=recipe.total_steps,
            device=part.device,
        )
        return itertools.chain.from_iterable(split_batch(step, recipe.engine.accumulate) for step in steps)

    return batches


def split_batch(batch: Batch, parts: int) -> Iterator[Batch]:
    """A batch in equal consecutive parts, for gradient accumulation; what was replaced stays with the first.

    Raises:
        ConfigError: if it does not divide.
    """
    if len(batch) % parts:
        raise ConfigError(
            f"engine.accumulate {parts} does not divide the {len(batch)} images that each process has of a step"
        )
    size = len(batch) // parts
    for start in range(0, len(batch), size):
        chosen = slice(start, start + size)
        yield Batch(
            images=batch.images[chosen],
            domains=batch.domains[chosen],
            sources=batch.sources[chosen],
            names=batch.names[chosen],
            bad=batch.bad if start == 0 else (),
        )


def validation_batches(recipe: Recipe, part: DataPart) -> Callable[[], Iterable[Batch]] | None:
    """This rank's held-out batches, or None where the recipe holds nothing out."""
    if not recipe.held_out_sources:
        return None
    return lambda: eval_loader(
        recipe.held_out_sources,
        loader_config(recipe),
        rank=part.rank,
        world_size=part.world_size,
        device=part.device,
    )
