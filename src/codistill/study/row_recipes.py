"""Recipes of a study's rows, and the order of rows: a row may start from another row's student, or learn from it."""

from collections.abc import Sequence

from codistill.errors import ConfigError, unknown_name
from codistill.files.plain import flat, to_plain
from codistill.recipes.overrides import with_fields
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.study.config import StudyConfig
from codistill.study.variables import refuse_missing

ROW = "row:"
"""Prefix of the name of a row that is the teacher of another row."""


def recipes_of(study: StudyConfig, asked: Sequence[str]) -> dict[str, Recipe]:
    """Find the recipes of the given rows, and of the rows that they start or learn from, in the order of training."""
    found: dict[str, Recipe] = {}

    def add(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            raise ConfigError(f"rows.{chain[0]}: its rows lead in a circle: {' → '.join((*chain, name))}")
        if name in found or study.row(name).encoder:
            return
        recipe = recipe_of(study, name)
        for before in rows_before(study, name, recipe):
            add(before, (*chain, name))
        found[name] = recipe

    for name in asked:
        add(name, ())
    return found


def rows_before(study: StudyConfig, name: str, recipe: Recipe) -> tuple[str, ...]:
    """Rows whose students with the same seed a row needs: the one it starts from, and its teachers (`row:NAME`).

    Raises:
        ConfigError: for a teacher that is not a row, or is an existing encoder.
    """
    start = study.row(name).start
    taught = [one.encoder.removeprefix(ROW) for one in recipe.teachers if one.encoder.startswith(ROW)]
    for row in taught:
        if row not in study.rows:
            raise ConfigError(f"rows.{name}: a teacher's {unknown_name('row', row, study.rows)}")
        if known := study.row(row).encoder:
            raise ConfigError(
                f"rows.{name}: the teacher {ROW}{row} is an encoder that exists; give {known!r}"
            )
    return tuple(dict.fromkeys((*((start,) if start else ()), *taught)))


def recipe_of(study: StudyConfig, name: str) -> Recipe:
    """Build the recipe of a row, without seed and start.

    Raises:
        ConfigError: for any error in the row, which it names.
    """
    row = study.row(name)
    refuse_missing(to_plain(row), study.variables, f"rows.{name}")
    try:
        like, fields = study.rows[name].like, flat(row.set)
        if "engine.seed" in fields:
            raise ConfigError("set engine.seed has no effect: each seed of the study is set in its place")
        recipe = with_fields(find_recipe(row.recipe), fields, flat(study.row(like).set) if like else None)
    except ConfigError as error:
        raise ConfigError(f"rows.{name}: {error}") from error
    if row.start and recipe.student.init:
        raise ConfigError(f"rows.{name}: start and student.init exclude each other: name one of them")
    if row.start and study.rows[row.start].encoder:
        raise ConfigError(f"rows.{name}: start {row.start!r} is an encoder; give set: {{student.init: …}}")
    return recipe
