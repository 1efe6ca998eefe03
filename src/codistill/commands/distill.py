"""`codistill distill RECIPE --out RUN`: train a student; the same command again resumes it."""

import argparse
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codistill.commands.config_flags import with_flags
from codistill.commands.distill_options import (
    parse_sources,
    parse_teachers,
    student_fields,
    typed_fields,
)
from codistill.commands.help_fields import separate_entries
from codistill.commands.inspect_head import is_fit_folder
from codistill.commands.parsers.distill import parse
from codistill.commands.world_ready import ensure_world
from codistill.data import SourceConfig
from codistill.data.opening import resolve
from codistill.data.pattern_use import check_patterns_match
from codistill.distill.objective import DistillationObjective
from codistill.engine.distributed import DeviceChoice, start_process
from codistill.engine.logging import BAD_IMAGES
from codistill.engine.loop import train
from codistill.errors import ConfigError, StoppedError
from codistill.files.config import dump_yaml, read_yaml
from codistill.files.writing import make_directory, refuse_file
from codistill.nn.host_memory import keep_freed_memory
from codistill.nn.precision import in_bf16
from codistill.recipes.build import (
    DataPart,
    build_objective,
    calibrate_targets,
    training_batches,
    validation_batches,
)
from codistill.recipes.idle import check_length
from codistill.recipes.overrides import settled, without_epochs
from codistill.recipes.places import at_home, settle_run
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import RECIPES, find_recipe
from codistill.recipes.sources_record import SourcesNote, compare_sources
from codistill.teachers.target_cache import TargetCache
from codistill.types import Batch
from codistill.weights.export import write_export
from codistill.weights.run import checkpoints, read_run


def resolve_recipe(arguments: argparse.Namespace, overrides: list[str]) -> Recipe:
    """The recipe with the command line's teachers, sources and fields."""
    recipe = find_recipe(arguments.recipe)
    if arguments.teacher:
        recipe = replace(recipe, teachers=parse_teachers(arguments.teacher))
    if arguments.source:
        # The recipe's held-out images belong to its own sources.
        recipe = replace(
            recipe, sources=parse_sources(arguments.source), validation=(), world=None, world_path=""
        )
        if not arguments.held_out:
            recipe = replace(recipe, engine=replace(recipe.engine, validate_every=0))
    if arguments.held_out:
        recipe = replace(recipe, validation=parse_sources(arguments.held_out))
    typed = typed_fields(overrides)
    if getattr(arguments, "student", None):
        overrides = [*student_fields(arguments.student), *overrides]
    check_length(recipe)
    recipe = without_epochs(recipe, typed)
    if overrides or arguments.help_fields:
        args = ["--help"] if arguments.help_fields else overrides
        if arguments.help_fields:
            separate_entries(Recipe)
        program = f"codistill distill {arguments.recipe}"
        recipe = with_flags(recipe, args, program)
    recipe = settled(recipe, typed)
    if arguments.held_out and not recipe.engine.validate_every:
        raise ConfigError(
            "--held-out would have no effect: engine.validate_every is 0. Add --engine.validate-every N."
        )
    return recipe


def _introduce(
    recipe: Recipe, objective: DistillationObjective, fresh: list[str], device: torch.device, console: Console
) -> None:
    console.print(f"[bold]{recipe.name}[/bold]  {recipe.about}", highlight=False)
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("teacher", "encoder", "domain", "targets", "width", "patch"):
        table.add_column(column)
    for teacher in objective.bank.describe():
        fields = ("name", "encoder", "domain", "kinds", "dim", "patch_size")
        values = [teacher[field] for field in fields]
        table.add_row(*("+".join(v) if isinstance(v, list) else str(v) for v in values))
    console.print(table)
    for teacher in objective.bank.describe():
        console.print(f"licence of {teacher['name']}: {teacher['licence']}", highlight=False)
    count = sum(p.numel() for p in objective.trainable.parameters() if p.requires_grad)
    sources = ", ".join(f"{source.name} ({source.domain})" for source in recipe.training_sources)
    computed = "bf16" if in_bf16(device, recipe.engine.precision) else "fp32"
    console.print(
        f"{count:,} parameters to train at {recipe.image_size} px, {recipe.total_steps} steps of "
        f"{recipe.loader.batch_size} images from {sources}, in {computed}"
    )
    if fresh:
        console.print(f"{recipe.student.init} has nothing for {len(fresh)} tensors: {', '.join(fresh[:6])} …")


def main(argv: list[str]) -> int:
    arguments, overrides = parse(argv)
    console = Console(stderr=True)
    if arguments.list:
        for name, recipe in RECIPES.items():
            print(f"{name:<22} {recipe.about}")
        return 0
    recipe = resolve_recipe(arguments, overrides)
    if arguments.print_config:
        print(dump_yaml(recipe), end="")
        return 0
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    run_recipe(recipe, arguments.out, arguments.device, console, arguments.target_cache)
    return 0


def run_recipe(
    recipe: Recipe, out: Path, device: DeviceChoice, console: Console, target_cache: Path | None = None
) -> None:
    """Train a resolved recipe to its end and write the export.

    Args:
        recipe, out, device, console: the recipe, the run's folder, its device, and where progress is printed.
        target_cache: folder of a `TargetCache`, if one is used.

    Raises:
        ConfigError: if something in the recipe cannot be used, or the folder holds a head.
        StoppedError: if it stopped on request.
    """
    refuse_file(out)
    if is_fit_folder(out):
        raise ConfigError(f"{out} holds a head of `codistill fit`. Name another folder for the run (--out).")
    recipe = at_home(recipe)
    with start_process(device=device) as process:
        process.on_main(lambda: ensure_world(recipe, console))
        held_out = recipe.held_out_sources if recipe.engine.validate_every else ()
        for source in (*recipe.training_sources, *held_out):
            resolve(source, recipe.loader.remote)  # reports errors before any teacher is downloaded
            process.on_main(partial(check_patterns_match, source))
        cache = None if target_cache is None else TargetCache(target_cache)
        objective, fresh = build_objective(recipe, process.device, cache)
        note: SourcesNote | None = None
        if process.is_main:
            _introduce(recipe, objective, fresh, process.device, console)
            note = _compare_data(recipe, out, held_out, console)
        process.barrier()  # ranks that download teachers may be much later than others
        part = DataPart(rank=process.rank, world_size=process.world_size, device=process.device)
        if process.device.type == "cpu":
            keep_freed_memory()
        if not checkpoints(out):
            seen = calibrate_targets(recipe, objective, fresh, part, process.all_reduce_sum)
            if seen and process.is_main:
                console.print(f"target statistics taken from {seen * process.world_size} images")
        batches = training_batches(recipe, part)

        def noted_batches(start_step: int) -> Iterable[Batch]:
            """Record the data once the run is open: its settings agree, and no other process trains in it."""
            process.on_main(lambda: None if note is None else note.write(out))
            return batches(start_step)

        summary = train(
            objective,
            noted_batches,
            validation_batches(recipe, part),
            config=recipe.engine,
            optim=recipe.optim,
            run_dir=out,
            process=process,
            global_batch=recipe.loader.batch_size,
            recipe=recipe,
        )
        if cache is not None and process.is_main:
            console.print(
                f"targets of {cache.found:,} batches read from {cache.folder}, {cache.computed:,} computed"
            )
        if summary.bad_images and process.is_main:
            console.print(f"{summary.bad_images:,} bad images were replaced by others: {out / BAD_IMAGES}")
        if not summary.finished:
            again = " without --engine.stop-after" if summary.stopped_by == "stop_after" else ""
            raise StoppedError(
                f"stopped after step {summary.step} of {summary.total_steps}: the same command{again} resumes"
            )
        if process.is_main:
            folder = export_run(out)
            console.print(f"finished: {out}; export: {folder}, for codistill.load_encoder({str(folder)!r})")
            if summary.failed_validations:
                console.print(f"{summary.failed_validations} validations failed: see above")


def _compare_data(
    recipe: Recipe, out: Path, held_out: Sequence[SourceConfig], console: Console
) -> SourcesNote:
    """Return the content of sources and teachers; log changes since the run was last trained."""
    make_directory(out)
    settle_run(out, recipe)
    done = checkpoints(out)
    resumed_at = int(done[-1].name.removeprefix("step_")) if done else None
    sources = {"training": recipe.training_sources, "held out": held_out}
    used = {part: some for part, some in sources.items() if some}
    teachers = {teacher.name: teacher.encoder or teacher.name for teacher in recipe.teachers}
    note = compare_sources(out, used, resumed_at, recipe.loader.remote, teachers)
    for text in note.told:
        console.print(f"[yellow]since this run was last trained:[/yellow] {escape(text)}", highlight=False)
    return note


def export_run(run: Path) -> Path:
    """Write `RUN/export`: the encoder, its projectors and their description."""
    recipe = read_yaml(run / "config.yaml")
    return write_export(run / "export", read_run(run), recipe=recipe, overwrite=True)
