"""`codistill evaluate distillation --encoder RUN…`: how well students predict a teacher on held-out images.

The baseline is ridge regression from raw patch pixels and position, fitted on the first run's training images.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codistill.commands.parsers.evaluate_distillation import parse
from codistill.commands.short_names import short_names
from codistill.data import SourceConfig, eval_loader, open_source, train_loader
from codistill.errors import ConfigError, unknown_name
from codistill.files.writing import check_file
from codistill.metrics.interval import Interval, bootstrap_mean
from codistill.recipes.build import build_bank, loader_config
from codistill.recipes.places import read_run_recipe
from codistill.recipes.recipe import Recipe
from codistill.student.load import load_student
from codistill.tasks.distillation.evaluate import (
    PerImage,
    TargetReader,
    ridge_similarity,
    student_similarity,
    target_reader,
)
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.record import write_metrics
from codistill.weights.run import checkpoints


def _recipe_of(run: str) -> Recipe:
    recipe = read_run_recipe(Path(run))
    if not recipe.held_out_sources:
        raise ConfigError(f"{run}: its recipe holds no images out; train with --held-out NAME,DOMAIN,PATH")
    return recipe


def _step_of(run: str) -> int | None:
    """The step of a run's newest checkpoint, which `load_student` reads."""
    found = checkpoints(run)
    return int(found[-1].name.removeprefix("step_")) if found else None


def _ridge(recipe: Recipe, reader: TargetReader, steps: int) -> tuple[PerImage, float]:
    loader = replace(loader_config(recipe), num_workers=0)
    training = train_loader(
        recipe.training_sources,
        recipe.mix,
        recipe.augment,
        loader,
        seed=recipe.engine.seed,
        total_steps=steps,
    )
    held_out = eval_loader(recipe.held_out_sources, loader)
    return ridge_similarity(reader, training, held_out, recipe.student.patch_size)


def _intervals(result: PerImage, sources: Sequence[SourceConfig]) -> dict[str, Interval]:
    everything = {"all": bootstrap_mean(result.values, result.groups(sources).names)}
    return everything | {
        source.name: bootstrap_mean(result.of_source(source.name), result.groups(sources, source.name).names)
        for source in sources
    }


def _with_groups(sources: Sequence[SourceConfig], rules: Sequence[str]) -> tuple[SourceConfig, ...]:
    """The sources with the rules of `--groups` instead of their own."""
    given: dict[str, str] = {}
    known = [source.name for source in sources]
    for rule in rules:
        name, equals, pattern = rule.partition("=")
        if not equals or not pattern:
            raise ConfigError(f"--groups {rule}: write SOURCE=REGEX, e.g. --groups street=^")
        if name not in known:
            raise ConfigError(f"--groups {rule}: {unknown_name('held-out source', name, known)}")
        given[name] = pattern
    return tuple(replace(source, groups=given.get(source.name, source.groups)) for source in sources)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    recipe = _recipe_of(arguments.encoder[0])
    out = arguments.out or Path(arguments.encoder[0]) / "distillation.json"
    check_file(out)
    teacher = arguments.teacher or recipe.teachers[0].name
    chosen = [config for config in recipe.teachers if config.name == teacher]
    if not chosen:
        known = ", ".join(config.name for config in recipe.teachers)
        raise ConfigError(f"{arguments.encoder[0]} has no teacher {teacher!r}; its teachers: {known}")
    for source in (*recipe.held_out_sources, *(recipe.training_sources if arguments.ridge_steps else ())):
        open_source(source)
    bank = build_bank(replace(recipe, teachers=tuple(chosen)))
    sources = _with_groups(recipe.held_out_sources, arguments.groups)
    loader = replace(loader_config(recipe), num_workers=0)
    names = short_names(arguments.encoder)
    methods: dict[str, dict[str, Interval]] = {}
    groups = Groups((), "")
    notes: dict[str, Any] = {}
    steps: dict[str, int | None] = {}
    for run, name in zip(arguments.encoder, names, strict=True):
        steps[name] = _step_of(run)
        student = load_student(run)
        reader = target_reader(student, bank, teacher)
        held_out = eval_loader(recipe.held_out_sources, loader)
        result = student_similarity(student, reader, held_out)
        methods[name] = _intervals(result, sources)
        groups = result.groups(sources)
    if arguments.ridge_steps:
        reader = target_reader(load_student(arguments.encoder[0]), bank, teacher)
        result, penalty = _ridge(recipe, reader, arguments.ridge_steps)
        methods["ridge from pixels and position"] = _intervals(result, sources)
        notes["ridge"] = {"penalty": penalty, "images": arguments.ridge_steps * recipe.loader.batch_size}
    _print(methods, teacher, groups)
    numbers = {
        "task": "distillation",
        "metric": "cosine similarity of patch tokens, standardized, mean over patches, then images",
        "interval": groups.about(),
        "teacher": teacher,
        "teacher_licence": bank.describe()[0]["licence"],
        "image_size": recipe.image_size,
        "steps": steps,
        "methods": {name: {s: asdict(v) for s, v in by.items()} for name, by in methods.items()},
        **notes,
    }
    write_metrics(out, numbers, ["evaluate", "distillation", *argv])
    print(f"wrote {out}")
    return 0


def _print(methods: dict[str, dict[str, Interval]], teacher: str, groups: Groups) -> None:
    table = Table(
        title=f"Cosine similarity with {teacher} on held-out images",
        title_justify="left",
        caption=f"in brackets: images, groups that intervals resample ({groups.kind})",
        caption_justify="left",
    )
    first = next(iter(methods.values()))
    table.add_column("method")
    for source, interval in first.items():
        table.add_column(f"{source} ({interval.count}, {interval.groups})")
    for name, intervals in methods.items():
        table.add_row(name, *(str(interval) for interval in intervals.values()))
    Console().print(table)
