"""Configuration of a study, as written in its YAML: rows, seeds, evaluations, comparisons and tables.

    name: mine
    variables: {world: worlds/mine, teacher: ""}        # ${world} in any text; "" has to be given: --set teacher=PATH
    worlds: {main: {path: "${world}", config: {images: 900, size: 112}}}
    seeds: [0, 1, 2]
    rows:
      all: {recipe: world-demo, set: {engine.total_steps: 2000, teachers.1.encoder: "${teacher}"}}
      own: {like: all, set: {distill.sharing.mode: none}}
      dinov2: {encoder: dinov2_vits14}
    evaluations:
      depth: {task: depth, options: {data: "world:${world}", limit: 500, fit.steps: 300}}
    comparisons: [{row: all, against: [own]}]
    tables:
      sharing: {rows: [own, all], columns: [depth.rmse, hours]}

All errors in such a file are found before anything runs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codistill.errors import ConfigError, unknown_name
from codistill.files.plain import flat
from codistill.world.build import WorldConfig

TRAINING, WORLDS = "train", "worlds"
"""Names of cells that no evaluation and no row may have."""
COMPARISONS, CELLS = "comparisons", "cells"
"""Names of tables that every study has."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, kw_only=True)
class RowConfig:
    """A row: a training, or an existing encoder.

    Attributes:
        about: the row's name in tables; "": its name in the study.
        like: another row, from which recipe, `set`, `start` and `options` are taken over.
        recipe: known name, saved YAML, or `file.py:NAME`.
        set: fields of the recipe, by dotted path or nested; items of a list by number (`teachers.1.encoder`). A teacher
            whose encoder is `row:NAME` is the student of that row with the same seed.
        start: a row whose student with the same seed gives this row's initial weights (`student.init`).
        encoder: an existing encoder, as `load_encoder` takes it; nothing is trained.
        options: by evaluation, options of this row that replace the evaluation's (e.g. another image size).
    """

    about: str = ""
    like: str = ""
    recipe: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    encoder: str = ""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """An evaluation of all rows: `codistill evaluate TASK --encoder ROW`.

    Attributes:
        task: its name.
        about: heading of its columns in tables; "": the evaluation's name.
        options: of that command, without `--`: `data`, `split`, `limit`, `projector`, `recipe`, `fit.steps`, ….
        rows: rows that are evaluated; empty: all.
        minutes: expected minutes for --dry-run, used until one of these cells is finished.
    """

    task: str
    about: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] = ()
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes >= 0:
            raise ConfigError(f"minutes must be 0 or more; got {self.minutes:g}")


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """A paired difference: `row` minus each of `against`, in every evaluation that both rows have.

    Attributes:
        row, against: names of rows.
        evaluations: names of evaluations; empty: all.
        margin: by `EVALUATION.SCORE`, or by evaluation for its first score: differences within ± this count as equal.
    """

    row: str
    against: tuple[str, ...]
    evaluations: tuple[str, ...] = ()
    margin: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """A table of the study.

    Attributes:
        about: its caption.
        rows: names of rows, in order; empty: all.
        columns: `EVALUATION.SCORE`, `EVALUATION` for a task's headline scores, or `hours`, `flops`; empty: every
            evaluation, hours and operations.
        note: text below the table.
    """

    about: str = ""
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    note: str = ""


COSTS = ("hours", "flops")
"""Columns of a table that are costs, not scores."""


@dataclass(frozen=True, kw_only=True)
class StudyWorld:
    """An embedded world that the study needs; it is built first.

    Attributes:
        path: its folder. A world that already exists there is checked and used unchanged.
        config: its contents.
    """

    path: str
    config: WorldConfig


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study; the module docstring shows an example.

    Attributes:
        name, about: of the study.
        variables: values of `${NAME}`; "" has to be given on the command line.
        worlds: worlds that are built before everything else.
        seeds: seeds of every row: `engine.seed` of a training, `seed` of a head's fit.
        rows, evaluations, comparisons, tables: see the classes. No tables: one table with everything.
    """

    name: str
    about: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    worlds: dict[str, StudyWorld] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: dict[str, RowConfig] = field(default_factory=dict)
    evaluations: dict[str, EvaluationConfig] = field(default_factory=dict)
    comparisons: tuple[ComparisonConfig, ...] = ()
    tables: dict[str, TableConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {"row": self.rows, "evaluation": self.evaluations, "world": self.worlds, "table": self.tables}
        for what, names in named.items():
            for name in names:
                check_name(what, name)
        if not self.rows or not self.evaluations:
            raise ConfigError(
                f"study {self.name!r} has no {'rows' if not self.rows else 'evaluations'}: nothing to do"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds must be different whole numbers of 0 or more; got {list(self.seeds)}")
        for name, evaluation in self.evaluations.items():
            self._known("row", evaluation.rows, self.rows, f"evaluations.{name}.rows")
            flat(evaluation.options, f"evaluations.{name}.options.")
        for name, row in self.rows.items():
            self._check_row(name, row)
        for number, one in enumerate(self.comparisons):
            self._check_comparison(f"comparisons[{number}]", one)
        for name, table in self.tables.items():
            self._known("row", table.rows, self.rows, f"tables.{name}.rows")
            parts = ((column, column.split(".")[0]) for column in table.columns)
            asked = (column if part in COSTS else part for column, part in parts)  # hours.x is no column
            self._known("column", asked, (*self.evaluations, *COSTS), f"tables.{name}.columns")

    def _check_comparison(self, where: str, one: ComparisonConfig) -> None:
        self._known("row", (one.row, *one.against), self.rows, where)
        self._known("evaluation", one.evaluations, self.evaluations, where)
        self._known("evaluation", (m.split(".")[0] for m in one.margin), self.evaluations, where)
        if not one.against or one.row in one.against:
            raise ConfigError(
                f"{where}: against must name rows other than {one.row!r}; got {list(one.against)}"
            )
        names = one.evaluations or tuple(self.evaluations)
        for row in one.against:
            if not any({one.row, row} <= {*self.rows_of(name)} for name in names):
                raise ConfigError(
                    f"{where}: no evaluation has both {one.row} and {row}; asked: {', '.join(names)}"
                )
        for name, margin in one.margin.items():
            if name.split(".")[0] not in names or not margin > 0:
                raise ConfigError(
                    f"{where}: margin {name}: {margin:g} must be above 0, and of one of its evaluations: "
                    f"{', '.join(names)}"
                )

    def _check_row(self, name: str, row: RowConfig) -> None:
        where = f"rows.{name}"
        self._known("evaluation", row.options, self.evaluations, f"{where}.options")
        self._known("row", filter(None, (row.like, row.start)), self.rows, where)
        flat(row.set, f"{where}.set.")
        inherited = any(other.like == name for other in self.rows.values())
        for evaluation, options in row.options.items():
            flat(options, f"{where}.options.{evaluation}.")
            if not inherited and name not in self.rows_of(evaluation):
                raise ConfigError(
                    f"{where}.options.{evaluation} has no effect: the row is not in evaluations.{evaluation}.rows"
                )
        if row.encoder and (row.recipe or row.like or row.set or row.start):
            raise ConfigError(
                f"{where}: an encoder that exists is not trained: give encoder alone, or recipe (like), set and start"
            )
        if not (row.encoder or row.recipe or row.like):
            raise ConfigError(
                f"{where}: says neither recipe, nor like (another row), nor encoder (one that exists)"
            )
        seen = [name]
        while row.like:
            if row.like in seen:
                raise ConfigError(f"{where}: like leads in a circle: {' → '.join((*seen, row.like))}")
            seen.append(row.like)
            row = self.rows[row.like]
        if row.encoder and len(seen) > 1:
            raise ConfigError(f"{where}: is like {seen[-1]!r}, which is an encoder and has no recipe")

    @staticmethod
    def _known(kind: str, names: Iterable[str], known: Iterable[str], where: str) -> None:
        for name in names:
            if name not in (known := list(known)):
                raise ConfigError(f"{where}: {unknown_name(kind, name, known)}")

    def row(self, name: str) -> RowConfig:
        """Return a row, with everything that it takes over from the row in `like`."""
        own = self.rows[name]
        if not own.like:
            return own
        base = self.row(own.like)
        return RowConfig(
            about=own.about,
            recipe=own.recipe or base.recipe,
            set=merged(base.set, own.set),
            start=own.start or base.start,
            options={
                name: merged(base.options.get(name, {}), own.options.get(name, {}))
                for name in self.evaluations
            },
        )

    def rows_of(self, evaluation: str) -> tuple[str, ...]:
        """Names of the rows that an evaluation evaluates."""
        return self.evaluations[evaluation].rows or tuple(self.rows)


def check_name(what: str, name: str) -> None:
    """Refuse names that cannot be folders or files, or are reserved.

    Raises:
        ConfigError: says what is allowed.
    """
    taken = (COMPARISONS, CELLS) if what == "table" else (TRAINING, WORLDS, *COSTS)
    if not _NAME.fullmatch(name) or name in taken or (what not in ("row", "table") and "." in name):
        raise ConfigError(
            f"the {what} {name!r} cannot be called so: names are letters, digits, - and _ (and . in rows and tables), "
            f"other than {', '.join(taken)}"
        )


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge fields by dotted path. A field of `own` replaces the same field of `base`, and everything below it.

    A list in `base` is kept if `own` changes items of it (`teachers.0.encoder`): the list comes first, then the changes
    to its items.
    """
    first, second = flat(base), flat(own)

    def stays(path: str, value: Any) -> bool:
        above = any(f"{path}.".startswith(f"{other}.") for other in second)
        below = any(other.startswith(f"{path}.") for other in second)
        return not above and (not below or isinstance(value, list))

    kept = {path: value for path, value in first.items() if stays(path, value)}
    return kept | second
