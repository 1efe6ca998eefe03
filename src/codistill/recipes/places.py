"""Paths in a recipe: independent of the current folder, and still valid after a run was moved.

Relative paths in a command are relative to the current folder. They are made absolute before anything is saved, except
those that begin with `~` or a variable, which mean the same everywhere. A run that was moved together with its data and
teachers finds them by their path relative to the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from codistill.data.source import SourceConfig
from codistill.engine.run_dir import CONFIG
from codistill.errors import ConfigError
from codistill.files.config import load_yaml, save_yaml
from codistill.files.own_code import with_own_path
from codistill.files.places import absolute_encoder, absolute_path, moved_path, with_path
from codistill.files.plain import to_plain
from codistill.recipes.recipe import Recipe
from codistill.recipes.sources_record import recorded_place


def at_home(recipe: Recipe) -> Recipe:
    """Return the recipe with paths made absolute, starting from the current folder."""
    return _with_places(recipe, absolute_path, absolute_encoder)


def read_run_recipe(run: Path) -> Recipe:
    """Read the recipe of a run, with the present paths of its files.

    Raises:
        ConfigError: if the folder is no run, or its config is damaged.
    """
    if not (run / CONFIG).is_file():
        raise ConfigError(f"{run}: is no run of `codistill distill` (it has no {CONFIG})")
    recipe = load_yaml(Recipe, run / CONFIG)
    before = recorded_place(run)
    if before is None or before == absolute_path(str(run)):
        return recipe

    def moved(text: str) -> str:
        return moved_path(text, before, str(run))

    return _with_places(recipe, moved, lambda text: with_path(text, moved))


def same_but_for_places(saved: Recipe, given: Recipe) -> Recipe:
    """Return the saved recipe with the given one's spelling of encoders that are the same, so that a run can resume.

    Two encoders are the same if their texts are equal once the saved one is made absolute from the current folder
    (older runs keep relative paths).
    """

    def text(old: str, new: str) -> str:
        return new if old == new or absolute_encoder(old) == new else old

    names = {teacher.name: teacher.encoder for teacher in given.teachers}
    teachers = tuple(
        replace(teacher, encoder=text(teacher.encoder, names.get(teacher.name, teacher.encoder)))
        for teacher in saved.teachers
    )
    student = replace(saved.student, init=text(saved.student.init, given.student.init))
    return replace(saved, teachers=teachers, student=student)


def settle_run(run: Path, recipe: Recipe) -> None:
    """Replace the paths in a run's config by those of the resuming recipe, if they lead to the same files.

    Raises:
        ConfigError: if the config is damaged.
        CheckpointError: if it cannot be written.
    """
    path = run / CONFIG
    if path.is_file():
        same = same_but_for_places(read_run_recipe(run), recipe)
        if to_plain(same) != to_plain(load_yaml(Recipe, path)):
            save_yaml(same, path)


def _with_places(recipe: Recipe, path: Callable[[str], str], encoder: Callable[[str], str]) -> Recipe:
    def of(source: SourceConfig) -> SourceConfig:
        if source.kind == "generated":
            return source
        return replace(source, path=path(source.path), root=source.root and path(source.root))

    def own(weights: Mapping[str, float]) -> dict[str, float]:
        return {with_own_path(name, path): weight for name, weight in weights.items()}

    loss = recipe.distill.loss
    loss = replace(
        loss, weights=own(loss.weights), summary=None if loss.summary is None else own(loss.summary)
    )
    projector = recipe.student.projector
    projector = replace(projector, kind=with_own_path(projector.kind, path))
    return replace(
        recipe,
        distill=replace(recipe.distill, loss=loss),
        sources=tuple(map(of, recipe.sources)),
        validation=tuple(map(of, recipe.validation)),
        world_path=recipe.world_path and path(recipe.world_path),
        teachers=tuple(replace(teacher, encoder=encoder(teacher.encoder)) for teacher in recipe.teachers),
        student=replace(recipe.student, init=encoder(recipe.student.init), projector=projector),
    )
