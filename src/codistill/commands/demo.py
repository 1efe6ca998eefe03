"""`codistill demo --out DIR`: from an empty folder to a page that shows all answers of one encoder."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from codistill.commands.distill import run_recipe
from codistill.commands.evaluate_distillation import main as evaluate_distillation
from codistill.commands.parsers.demo import parse
from codistill.commands.world_ready import ensure_world
from codistill.demo.gather import (
    example_pictures,
    headline_scores,
    likeness_of,
    sheet_of,
    taught,
    training_seconds,
)
from codistill.demo.page import demo_page
from codistill.demo.pictures import reconstruct_pair, see_everything
from codistill.demo.story import Story
from codistill.files.writing import write_atomic
from codistill.perception.perception import Perception
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.weights.shipped import find_shipped, read_card

MODEL = "dune-tiny"
RIDGE_STEPS = 6
"""Number of batches of training pictures for the regression from pixels."""


def demo_recipe(out: Path, steps: int | None) -> Recipe:
    """The demo's recipe, with its world in the demo's folder."""
    recipe = replace(find_recipe("world-demo"), world_path=str(out / "world"))
    if steps is not None:
        recipe = replace(recipe, engine=replace(recipe.engine, total_steps=steps))
    return recipe


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    console, started = Console(stderr=True), time.monotonic()
    out: Path = arguments.out
    recipe, run = demo_recipe(out, arguments.steps), out / "run"
    examples = example_pictures(arguments.photo)  # report errors before the minutes of training
    perception = Perception.from_pretrained(MODEL)
    commands: list[tuple[str, str]] = []

    def step(what: str, command: str) -> None:
        commands.append((what, command))
        console.rule(f"{len(commands)}  {what}")
        console.print(f"$ {command}", style="dim", highlight=False)

    world = recipe.world
    assert world is not None
    step(
        "A world to learn from: objects, rooms and people, with all the truth",
        f"codistill world build --images {world.images} --size {world.size} --out {recipe.world_path}",
    )
    ensure_world(recipe, console)
    length = "" if arguments.steps is None else f" --engine.total-steps {arguments.steps}"
    step(
        f"A student, from {len(recipe.teachers)} unlike teachers at once",
        f"codistill distill world-demo --world-path {recipe.world_path}{length} --out {run}",
    )
    begun = time.monotonic()
    run_recipe(recipe, run, "auto", console)
    seconds = training_seconds(run)
    before = max(0.0, seconds - (time.monotonic() - begun))  # trained in earlier calls
    step(
        "How like its teachers it has become, beside what raw pixels say of their tokens",
        f"codistill evaluate distillation --encoder {run} --teacher NAME --ridge-steps {RIDGE_STEPS}",
    )
    likeness, held_out = likeness_of(_likeness_files(recipe, run, out))
    step(
        f"Everything that {MODEL} sees in one pass",
        f"codistill see PICTURE --perception {MODEL} --out DIR",
    )
    console.print(", ".join(title for title, _ in examples.single), highlight=False)
    seen = [see_everything(perception, picture, title) for title, picture in examples.single]
    cloud = reconstruct_pair(perception, *examples.pair)
    step(
        "Features of teachers and students side by side",
        f"codistill pca PICTURE --encoder {MODEL} --encoder {run}",
    )
    sheet = sheet_of(recipe, run, MODEL, [picture for _, picture in examples.single])
    model = find_shipped(MODEL)
    commands.append(
        ("The same on your own pictures, live in a browser", f"codistill serve --perception {MODEL}")
    )
    page = demo_page(
        Story(
            model=MODEL,
            facts=perception.describe(),
            scores=() if model is None else headline_scores(read_card(model)),
            seen=seen,
            cloud=cloud,
            sheet=sheet,
            teachers=taught(run),
            steps=recipe.total_steps,
            batch=recipe.loader.batch_size,
            seconds=seconds,
            likeness=likeness,
            held_out=held_out,
            commands=commands,
            took=before + time.monotonic() - started,
        )
    )
    write_atomic(out / "index.html", page)
    where = (out / "index.html").resolve()
    console.print(f"\n[bold]Open[/bold] {where.as_uri()}", highlight=False, soft_wrap=True)
    console.print(f"Live, with your own pictures: codistill serve --perception {MODEL}", highlight=False)
    return 0


def _likeness_files(recipe: Recipe, run: Path, out: Path) -> dict[str, Path]:
    """Metrics file for each teacher: similarity of the student's prediction, and of a ridge regression from pixels."""
    files = {}
    for teacher in recipe.teachers:
        files[teacher.name] = out / f"likeness-{teacher.name}.json"
        options = ["--encoder", str(run), "--teacher", teacher.name, "--ridge-steps", str(RIDGE_STEPS)]
        evaluate_distillation([*options, "--out", str(files[teacher.name])])
    return files
