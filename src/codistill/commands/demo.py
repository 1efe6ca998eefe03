"""`codistill demo --out DIR`: the whole pipeline in small: images, teachers, a student, scores, a picture."""

import logging
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from codistill.commands.distill import run_recipe
from codistill.commands.evaluate_distillation import main as evaluate_distillation
from codistill.commands.parsers.demo import parse
from codistill.commands.pca import main as pca
from codistill.commands.world_ready import ensure_world
from codistill.data import open_source
from codistill.errors import CheckpointError
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.weights.cache import find_weights
from codistill.weights.known import find_known

PICTURES_PER_SOURCE = 2


def demo_recipe(out: Path, teacher: str, steps: int | None, console: Console) -> Recipe:
    """The demo's recipe, with a random teacher if the wanted one's weights are missing."""
    recipe = find_recipe("world-demo")
    recipe = replace(recipe, world_path=str(out / "world"))
    if steps is not None:
        recipe = replace(recipe, engine=replace(recipe.engine, total_steps=steps))
    first = replace(recipe.teachers[0], encoder=teacher)
    if find_known(teacher) is not None and not Path(teacher).exists():
        try:
            find_weights(teacher)
        except CheckpointError as error:
            console.print(f"[bold]No weights for {teacher}.[/bold] {error}", highlight=False)
            console.print(
                "[bold]Going on with a teacher of seeded random weights[/bold]: everything runs, but its features "
                "know nothing.",
                highlight=False,
            )
            first = replace(first, name="random", encoder="random:vit_small,seed=0")
    return replace(recipe, teachers=(first, *recipe.teachers[1:]))


def _held_out_pictures(recipe: Recipe, folder: Path) -> list[str]:
    """A few held-out images of each source as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for config in recipe.held_out_sources:
        source = open_source(config)
        for index in range(min(PICTURES_PER_SOURCE, len(source))):
            path = folder / f"{config.name}-{index}.jpg"
            path.write_bytes(source.read(index))
            paths.append(str(path))
    return paths


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    console = Console(stderr=True)
    out: Path = arguments.out
    recipe = demo_recipe(out, arguments.teacher, arguments.steps, console)
    console.rule("1  images: the embedded world")
    ensure_world(recipe, console)
    console.rule("2  distillation")
    run = out / "run"
    run_recipe(recipe, run, "auto", console)
    console.rule("3  held-out images: the student beside ridge regression from raw pixels")
    evaluate_distillation(["--encoder", str(run), "--ridge-steps", "12", "--out", str(out / "metrics.json")])
    console.rule("4  features as colours")
    pictures = _held_out_pictures(recipe, out / "held-out")
    teacher = recipe.teachers[0].encoder or recipe.teachers[0].name
    encoders = ["--encoder", teacher, "--encoder", str(run)]
    pca([*pictures, *encoders, "--size", "224", "--out", str(out / "features.png")])
    console.print(
        f"\nLook at {out / 'features.png'} and {out / 'metrics.json'}; the encoder is {run / 'export'}: "
        f"codistill.load_encoder({str(run / 'export')!r})",
        highlight=False,
    )
    return 0
