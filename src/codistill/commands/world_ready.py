"""Build the embedded world that a recipe needs, with a progress bar, if it is missing or unfinished."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.recipes.recipe import Recipe
from codistill.world.build import build_world


def ensure_world(recipe: Recipe, console: Console) -> None:
    """Build the recipe's world if it is missing; an existing one is only checked.

    Raises:
        DataError: if the folder holds another world.
        MissingExtraError: if a package of the extra `world` is missing.
    """
    if recipe.world is None:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task(f"world {recipe.world_path}", total=recipe.world.pictures())
        build_world(
            Path(recipe.world_path),
            recipe.world,
            progress=lambda domain, split, done: display.advance(task, done),
        )
