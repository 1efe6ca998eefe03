"""The cells of a study: everything that has to be done, in order. Each cell is one codistill command.

    worlds/NAME         codistill world build
    ROW/SEED/train      codistill distill
    ROW/SEED/NAME       codistill evaluate, which fits a head first if the task has one

All rows of the first seed come first. An evaluation of an existing encoder that fits no head is done only once, because
no seed has an effect on it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from codistill.errors import ConfigError
from codistill.files.plain import to_plain
from codistill.recipes.overrides import with_fields
from codistill.recipes.recipe import Recipe
from codistill.study.config import TRAINING, WORLDS, EvaluationConfig, StudyConfig, merged
from codistill.study.places import StudyFolder
from codistill.study.row_recipes import ROW, recipes_of, rows_before
from codistill.study.variables import refuse_missing
from codistill.tasks.registry import find_task
from codistill.world.build import WORLD_FILE, read_world

Resolve = Callable[[Sequence[str]], Mapping[str, Any]]
"""Maps the arguments of `codistill evaluate` to its configs; raises ConfigError if they are wrong."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A training, an evaluation or a world of a study, which is done once.

    Attributes:
        name: ROW/SEED/WHAT, or worlds/NAME.
        kind: `world`, `training` or `evaluation`.
        row, seed, what: parts of the name.
        words: arguments of `codistill`.
        out: file or folder that the command writes.
        needs: names of cells that must be finished before.
        config: everything that defines the cell, by part: frozen dataclasses and plain values, without paths in the
            study's folder.
        inputs: encoders and data that it reads, as given, by their role.
        of_rows: names of those inputs that are the student of another cell. If that student is trained anew, this does
            not count as a change of the study.
        recipe: of a training, with the paths of this folder.
    """

    name: str
    kind: Literal["world", "training", "evaluation"]
    row: str = ""
    seed: int = 0
    what: str = ""
    words: tuple[str, ...]
    out: Path
    needs: tuple[str, ...] = ()
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    of_rows: tuple[str, ...] = ()
    recipe: Recipe | None = None


def cells_of(
    study: StudyConfig,
    folder: StudyFolder,
    resolve: Resolve,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Cell]:
    """List all cells of a study, in order.

    Args:
        study: with its variables replaced.
        folder: folder of the study.
        resolve: checks an evaluation's arguments.
        only: rows to include; empty: all. The trainings of rows that these start or learn from are included too.
        seeds: seeds of the study to include; empty: all.

    Raises:
        ConfigError: for any error in any cell; nothing has run by then.
    """
    asked = tuple(only) or tuple(study.rows)
    recipes = recipes_of(study, asked)
    cells = [_world(study, name, folder) for name in study.worlds]
    for seed in tuple(seeds) or study.seeds:
        for row in study.rows:
            if row in recipes:
                cells.append(_training(study, row, seed, recipes[row], folder))
            for name in evaluations_of(study, row, seed) if row in asked else ():
                cells.append(_evaluation(study, row, seed, name, folder, resolve))
    return cells


def evaluations_of(study: StudyConfig, row: str, seed: int) -> list[str]:
    """List the evaluations of a row with a seed; those that do not depend on the seed only for the first."""
    first = seed == study.seeds[0] or not study.rows[row].encoder
    return [
        name
        for name, asked in study.evaluations.items()
        if row in study.rows_of(name) and (first or is_fitted(asked))
    ]


def is_fitted(asked: EvaluationConfig) -> bool:
    """Whether an evaluation fits a head first, so that it depends on the seed."""
    return find_task(asked.task).fit is not None and "baseline" not in asked.options


def cell_names(study: StudyConfig) -> list[str]:
    """List the names of all cells, in order."""
    names = list(_worlds(study))
    for seed in study.seeds:
        for row, config in study.rows.items():
            whats = [] if config.encoder else [TRAINING]
            names += [f"{row}/{seed}/{what}" for what in (*whats, *evaluations_of(study, row, seed))]
    return names


def _world(study: StudyConfig, name: str, folder: StudyFolder) -> Cell:
    world = study.worlds[name]
    refuse_missing(world.path, study.variables, f"worlds.{name}")
    config, path = world.config, Path(world.path)
    words = ["world", "build", "--out", world.path, "--images", str(config.images)]
    words += ["--domains", ",".join(config.domains), "--size", str(config.size), "--seed", str(config.seed)]
    words += ["--val-share", str(config.val_share), "--test-share", str(config.test_share)]
    if (path / WORLD_FILE).is_file():
        there = read_world(path)
        if missing := set(config.domains) - set(there["domains"]):
            raise ConfigError(f"worlds.{name}: {path} holds a world without {', '.join(sorted(missing))}")
        plan = to_plain(config)
        if any(there.get(part) != plan[part] for part in plan if part != "domains"):
            words = ["world", "check", world.path]  # somebody else's world: it is never changed
    return Cell(
        name=f"{WORLDS}/{name}",
        kind="world",
        what=name,
        words=tuple(words),
        out=path,
        config={"world": config},
    )


def _worlds(study: StudyConfig) -> tuple[str, ...]:
    return tuple(f"{WORLDS}/{name}" for name in study.worlds)


def _training(study: StudyConfig, row: str, seed: int, recipe: Recipe, folder: StudyFolder) -> Cell:
    name, start = f"{row}/{seed}/{TRAINING}", study.row(row).start
    out = folder.work(name)
    fields: dict[str, Any] = {"engine.seed": seed}
    here: dict[str, Any] = dict(fields)
    of_rows: list[str] = []
    if start:
        fields["student.init"], here["student.init"] = f"row {start}", str(export_of(folder, start, seed))
        of_rows.append("student.init")
    for number, teacher in enumerate(recipe.teachers):
        if teacher.encoder.startswith(ROW):
            export = export_of(folder, teacher.encoder.removeprefix(ROW), seed)
            here[f"teachers.{number}.encoder"] = str(export)
            of_rows.append(f"teacher {teacher.name}")
    try:
        config, placed = with_fields(recipe, fields), with_fields(recipe, here)
    except ConfigError as error:
        raise ConfigError(f"rows.{row}: {error}") from error
    inputs = {f"teacher {one.name}": one.encoder or one.name for one in placed.teachers}
    inputs |= {"student.init": placed.student.init} if placed.student.init else {}
    inputs |= {"world": recipe.world_path} if recipe.world_path else {}
    inputs |= {
        f"source {source.name}": source.path for source in recipe.sources if source.kind != "generated"
    }
    return Cell(
        name=name,
        kind="training",
        row=row,
        seed=seed,
        what=TRAINING,
        words=("distill", str(recipe_file(folder, row, seed)), "--out", str(out)),
        out=out,
        needs=(*_worlds(study), *(f"{one}/{seed}/{TRAINING}" for one in rows_before(study, row, recipe))),
        config={"recipe": config},
        inputs=inputs,
        of_rows=tuple(of_rows),
        recipe=placed,
    )


def recipe_file(folder: StudyFolder, row: str, seed: int) -> Path:
    """File to which a row's resolved recipe is written for the command."""
    return folder.work(f"{row}/{seed}") / "recipe.yaml"


def export_of(folder: StudyFolder, row: str, seed: int) -> Path:
    """Where a row's student is exported to."""
    return folder.work(f"{row}/{seed}/{TRAINING}") / "export"


def _evaluation(
    study: StudyConfig, row: str, seed: int, name: str, folder: StudyFolder, resolve: Resolve
) -> Cell:
    asked, config = study.evaluations[name], study.row(row)
    where = f"evaluations.{name} of rows.{row}"
    refuse_missing([to_plain(asked), config.encoder], study.variables, where)
    cell = f"{row}/{seed}/{name}"
    out, options = folder.work(cell), merged(asked.options, config.options.get(name, {}))
    for taken in ("encoder", "features.encoder", "out", "head", "model", "against", "json", "list"):
        if taken in options:
            raise ConfigError(f"evaluations.{name}.options.{taken}: is the study's to say; leave it out")
    if is_fitted(asked):
        options.setdefault("fit.seed", seed)
    words = ["evaluate", asked.task, *words_of(options)]
    try:
        resolved = resolve([*words, "--encoder", config.encoder or f"row {row}", "--out", str(out)])
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    encoder = config.encoder or str(export_of(folder, row, seed))
    inputs = {"encoder": encoder}
    inputs |= {"data": str(options["data"]).partition(":")[2]} if "data" in options else {}
    return Cell(
        name=cell,
        kind="evaluation",
        row=row,
        seed=seed,
        what=name,
        words=(*words, "--encoder", encoder, "--out", str(out)),
        out=out,
        needs=(*_worlds(study), *(() if config.encoder else (f"{row}/{seed}/{TRAINING}",))),
        config=resolved,
        inputs=inputs,
        of_rows=() if config.encoder else ("encoder",),
    )


def words_of(options: Mapping[str, Any]) -> Iterator[str]:
    """Turn options by dotted path into arguments.

    Example: `{fit.steps: 3, fit.cached: false}` becomes `--fit.steps 3 --fit.no-cached`.
    """
    for path, value in options.items():
        *parents, last = path.replace("_", "-").split(".")
        if value is False:
            last = f"no-{last}"
        yield "--" + ".".join((*parents, last))
        if isinstance(value, list):
            yield from map(_word, value)
        elif not isinstance(value, bool):
            yield _word(value)


def _word(value: Any) -> str:
    return "None" if value is None else str(value)
