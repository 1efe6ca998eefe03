"""Build teachers, student, objective and data from a recipe. Only this module connects configurations with builders."""

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from codistill.data import LoaderConfig, eval_loader, train_loader
from codistill.distill.calibration import calibrate, suits
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import check_sharing, to_device
from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.engine.parallel import compile_units
from codistill.engine.prefetch import DeviceBatches
from codistill.errors import ConfigError
from codistill.nn.precision import Precision, autocast
from codistill.recipes.beforehand import check_beforehand
from codistill.recipes.fresh_student import build_student
from codistill.recipes.idle import check_recipe
from codistill.recipes.purpose import check_purpose
from codistill.recipes.recipe import Recipe
from codistill.recipes.sizes import check_images, images_of_step, size_of_crops, view_plan
from codistill.teachers.bank import TeacherBank
from codistill.teachers.target_cache import TargetCache
from codistill.teachers.teacher import Teacher
from codistill.types import Batch


def build_bank(
    recipe: Recipe,
    device: torch.device | str = "cpu",
    step: Precision = "fp32",
    cache: TargetCache | None = None,
) -> TeacherBank:
    """Load the recipe's teachers, for steps of a given precision on a given device (they are moved there later)."""
    teachers: list[Teacher] = []
    loaded: dict[tuple[str, str], Encoder] = {}
    for config in recipe.teachers:
        what = os.path.expandvars(config.encoder or config.name)
        if "$" in what:
            raise ConfigError(f"teacher {config.name!r}: {what!r} uses a variable that is not set")
        known = what, config.precision
        encoder = loaded.get(known) or load_encoder(what)
        teachers.append(Teacher(config, encoder, device=device, step=step))
        if config.precision != "int8":  # int8 may change the encoder that it is given
            loaded[known] = teachers[-1].encoder
    return TeacherBank(teachers, recipe.student.patch_size, cache)


def build_objective(
    recipe: Recipe, device: torch.device | str = "cpu", cache: TargetCache | None = None
) -> tuple[DistillationObjective, list[str]]:
    """Build a recipe's objective for a device; also return the parts that `init` lacks (see `build_student`)."""
    if not recipe.training_sources:
        raise ConfigError(f"recipe {recipe.name!r} has no image source: add --source NAME,DOMAIN,PATH")
    check_recipe(recipe)
    check_purpose(recipe)
    check_beforehand(recipe)
    sources = {source.name: source.domain for source in recipe.training_sources}
    teacher_domains = {teacher.name: teacher.domain for teacher in recipe.teachers}
    check_sharing(recipe.distill.sharing, teacher_domains, sources)
    bank = build_bank(recipe, device, recipe.engine.precision, cache)
    student, fresh = build_student(recipe, bank.target_specs())
    compile_teachers(bank, everyone=recipe.engine.compile)
    objective = DistillationObjective(
        student,
        bank,
        recipe.distill,
        validation_sources=[source.name for source in recipe.held_out_sources],
        recipe=recipe.name,
        views=view_plan(recipe),
    )
    return objective, fresh


def compile_teachers(bank: TeacherBank, *, everyone: bool) -> None:
    """Compile all teachers, or only those in int8, which are slow otherwise. (The engine compiles what it trains.)

    Folded int8 teachers are not compiled: each of their products is one operation, with a scale that is read on the
    host.
    """
    for name in bank.names:
        in_integers = bank[name].config.precision == "int8"
        folded = in_integers and isinstance(bank[name].encoder, FrozenViTEncoder)
        if (everyone or in_integers) and not folded:
            compile_units(bank[name])


def calibrate_targets(
    recipe: Recipe,
    objective: DistillationObjective,
    fresh: Collection[str],
    part: "DataPart",
    all_reduce_sum: Callable[[Tensor], Tensor],
) -> int:
    """Compute fixed target statistics on the first training batches, for teachers whose `student.init` has none to use.

    Returns:
        Images seen by this rank; 0 if nothing had to be computed.
    """
    names = [target.name for target in objective.trainable.targets]
    if recipe.student.init:
        names = [
            name
            for name in names
            if any(line.startswith(f"target_statistics.{name}.") for line in fresh)
            or not suits(objective, name)
        ]
    if recipe.distill.targets.statistics != "fixed" or not names:
        return 0
    device = torch.device(part.device)
    objective.to_device(device)
    objective.trainable.to(device)
    steps = min(recipe.distill.targets.estimate_steps, recipe.total_steps) * recipe.engine.accumulate
    batches = itertools.islice(DeviceBatches(training_batches(recipe, part)(0), device), steps)
    with autocast(device, recipe.engine.precision):
        return calibrate(objective, batches, names, all_reduce_sum, recipe.engine.accumulate)


def loader_config(recipe: Recipe) -> LoaderConfig:
    """The loader's configuration, with the recipe's image size."""
    return replace(recipe.loader, image_size=recipe.image_size)


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """The share of the data that a process reads, and its device."""

    rank: int = 0
    world_size: int = 1
    device: torch.device | str = "cpu"


def training_batches(recipe: Recipe, part: DataPart) -> Callable[[int], Iterable[Batch]]:
    """Return a function that maps a start step to this rank's batches from there on: `engine.accumulate` per step."""

    parts = part.world_size * recipe.engine.accumulate
    loader = loader_config(recipe)
    if not recipe.image_sizes and loader.batch_size % parts:
        raise ConfigError(
            f"loader.batch_size {loader.batch_size} must be a multiple of {part.world_size} rank(s) times "
            f"engine.accumulate {recipe.engine.accumulate} = {parts}"
        )
    if recipe.image_sizes:
        times = -(-(recipe.image_size**2) // min(recipe.image_sizes) ** 2)
        loader = replace(loader, batch_size=max(1, times) * loader.batch_size)  # slots; the same for any rank
        check_images(recipe, loader.batch_size, parts)

    def batches(start_step: int) -> Iterable[Batch]:
        steps = train_loader(
            recipe.training_sources,
            recipe.mix,
            recipe.augment,
            loader,
            seed=recipe.engine.seed,
            rank=part.rank,
            world_size=part.world_size,
            start_step=start_step,
            total_steps=recipe.total_steps,
            device=part.device,
            size_of_step=partial(size_of_crops, recipe),
            images_of_step=partial(images_of_step, recipe, parts=parts) if recipe.image_sizes else None,
        )
        return itertools.chain.from_iterable(split_batch(step, recipe.engine.accumulate) for step in steps)

    return batches


def split_batch(batch: Batch, parts: int) -> Iterator[Batch]:
    """Split a batch into equal parts, for gradient accumulation. Records of replaced images stay with the first part.

    The images are ordered by domain and dealt out in turn, so that every part holds all domains in the batch's
    proportions, whatever their order in the batch.

    Raises:
        ConfigError: if the number of parts does not divide the batch.
    """
    if len(batch) % parts:
        raise ConfigError(
            f"engine.accumulate {parts} does not divide the {len(batch)} images that each process has of a step"
        )
    if parts == 1:
        yield batch
        return
    domains = list(dict.fromkeys(batch.domains))
    order = sorted(range(len(batch)), key=lambda place: domains.index(batch.domains[place]))
    images = batch.images
    if order != list(range(len(batch))):  # a balanced batch is in order, and needs no copy
        images = images.index_select(0, to_device(torch.tensor(order), images.device))
    for part in range(parts):
        chosen = order[part::parts]
        yield Batch(
            images=images[part::parts],
            domains=tuple(batch.domains[place] for place in chosen),
            sources=tuple(batch.sources[place] for place in chosen),
            names=tuple(batch.names[place] for place in chosen),
            bad=batch.bad if part == 0 else (),
            places=tuple(chosen),
        )


def validation_batches(recipe: Recipe, part: DataPart) -> Callable[[], Iterable[Batch]] | None:
    """Return a function that gives this rank's held-out batches, or None if the recipe holds nothing out."""
    if not recipe.held_out_sources:
        return None
    return lambda: eval_loader(
        recipe.held_out_sources,
        loader_config(recipe),
        rank=part.rank,
        world_size=part.world_size,
        device=part.device,
    )
