"""Counts of an evaluation, one entry per sample; stored in OUT/per_image.npz for paired comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import ConfigError, DataError
from codistill.files.npz import DAMAGE
from codistill.tasks.shared.groups import Groups

PER_IMAGE = "per_image.npz"
ROWS = "rows."
"""Prefix, in the file, of the names of arrays with one row per item in a sample; `rows.sample` is the item's sample."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Numbers per sample.

    Attributes:
        names, groups: names and groups of the samples.
        values: arrays (sample, …) by name.
        rows: arrays (item, …) by name; `sample` is the index of an item's sample.
    """

    names: tuple[str, ...]
    groups: Groups
    values: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def at(self, indices: Sequence[int] | np.ndarray) -> "ScoreTable":
        """The table of chosen samples, which may repeat; without rows."""
        chosen = np.asarray(indices, dtype=np.int64)
        names = tuple(self.names[index] for index in chosen.tolist())
        values = {name: array[chosen] for name, array in self.values.items()}
        return ScoreTable(names=names, groups=self.groups.at(chosen.tolist()), values=values)

    def by_sample(self, values: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Per sample, sum and number of the finite (item,) values among those chosen: (sample, 2)."""
        used = np.isfinite(values) if chosen is None else np.isfinite(values) & chosen
        sample, size = self.rows["sample"][used].astype(int), len(self)
        return np.stack(
            (np.bincount(sample, values[used], size), np.bincount(sample, minlength=size)), axis=1
        )

    def arrays(self) -> dict[str, Any]:
        """The content of per_image.npz."""
        rows = {f"{ROWS}{name}": array for name, array in self.rows.items()}
        return {
            "names": np.array(self.names),
            "groups": np.array(self.groups.names),
            **self.values,
            **rows,
        }


def read_table(folder: Path, like: ScoreTable) -> ScoreTable:
    """Read the table of an earlier evaluation of the same samples.

    Args:
        folder: output folder of the earlier evaluation.
        like: table of the evaluation to compare.

    Raises:
        DataError: if there is no table, or it is that of another task.
        ConfigError: if the earlier evaluation scored other samples, or other quantities.
    """
    stored = read_stored(folder)
    names = tuple(str(name) for name in stored.pop("names").tolist())
    stored.pop("groups", None)
    missing = sorted({*like.values, *(f"{ROWS}{name}" for name in like.rows)} - set(stored))
    if missing:
        raise DataError(
            f"{folder / PER_IMAGE}: has no {', '.join(missing)}. Give the --out folder of an evaluation of this task."
        )
    if names != like.names:
        raise ConfigError(f"{folder}: a paired difference needs the same samples in the same order")
    table = _table(names, like.groups, stored)
    rows = table.rows
    if rows and not np.array_equal(rows["sample"], like.rows["sample"]):
        raise ConfigError(
            f"{folder}: counts {len(rows['sample'])} things as the truth, this evaluation {len(like.rows['sample'])}: "
            "a paired difference needs the same ones. Evaluate both with the same options."
        )
    return table


def stored_table(folder: Path) -> ScoreTable:
    """Read the table in an evaluation's folder, with its own groups.

    Raises:
        DataError: if there is none.
    """
    stored = read_stored(folder)
    names = tuple(str(name) for name in stored.pop("names").tolist())
    groups = tuple(str(name) for name in stored.pop("groups", np.array(names)).tolist())
    return _table(names, Groups(groups, "groups"), stored)


def _table(names: tuple[str, ...], groups: Groups, stored: Mapping[str, np.ndarray]) -> ScoreTable:
    rows = {name.removeprefix(ROWS): array for name, array in stored.items() if name.startswith(ROWS)}
    values = {name: array for name, array in stored.items() if not name.startswith(ROWS)}
    return ScoreTable(names=names, groups=groups, values=values, rows=rows)


def read_stored(folder: Path) -> dict[str, np.ndarray]:
    """Read the arrays in an evaluation's folder.

    Raises:
        DataError: if there are none.
    """
    path = folder / PER_IMAGE
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: holds no {path.name}. Give the --out folder of an evaluation that has ended."
        ) from error
    except DAMAGE as error:
        raise DataError(
            f"{path}: the counts of an evaluation cannot be read ({str(error) or type(error).__name__}). Copy the file "
            "again, or evaluate again."
        ) from error
    if "names" not in stored:
        raise DataError(f"{path}: names no samples. Give the --out folder of an evaluation of this task.")
    return stored
