"""Define a task as one value of the class `Task`, with everything that `fit`, `evaluate` and `predict` need.

    data = open_data(TASK, "folder:/data/mine", "val")              # samples of a split
    TASK.fit(training_data, config, runtime, process)               # HEAD/head.json, HEAD/head.safetensors
    model = TASK.load(Subject(head=HEAD), TASK.test(), data)        # an encoder with its head
    outcomes = TASK.score(model, data, test, runtime)               # one per sample, in order
    found = evaluate(TASK, outcomes, data, test)                    # scores with confidence intervals

To add a task, write one folder with such a value and add one row to `registry.py`. Distillation, feature extraction,
reconstruction and submissions to the Map-free benchmark are not tasks in this sense; they have their own commands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codistill.engine.distributed import Process
from codistill.tasks.layout import Layout, TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import check_samples
from codistill.tasks.shared.features import FeatureConfig, Source
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.shared.statistics import Statistic


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model to evaluate or to use: a head, an encoder or a baseline.

    Attributes:
        head: a folder that `codistill fit` wrote, or a released file of a head.
        model: a released file of an encoder with its head.
        features: features to use instead of those that the head was fitted on; needed if the head records none.
        baseline: a name in `Task.baselines`; it replaces a head, or a part of a head's answer.
        other_encoder: allow an encoder other than the one that the head was fitted on.
        source: the encoder or student that `features` names, if it is already in memory; None: load it.
    """

    head: Path | None = None
    model: Path | None = None
    features: FeatureConfig | None = None
    baseline: str | None = None
    other_encoder: bool = False
    source: Source | None = None


@dataclass(frozen=True)
class Outcome:
    """The result for one sample.

    Attributes:
        name: name of the sample.
        values: counts and other numbers by name, as arrays of the same shape for every sample.
        rows: arrays of equal length, with one row per item in the sample (a person, a match).
        draw: makes a row of pictures (row, column, 3) uint8: image, truth, prediction; called for a few samples only.
    """

    name: str
    values: Mapping[str, np.ndarray | float | int]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    draw: Callable[[], Sequence[np.ndarray]] | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score, and how tables show it.

    Attributes:
        title: heading in tables, with the unit.
        statistic: computes the score from the counts of the samples.
        digits: digits after the decimal point.
        headline: whether short tables show the score.
        higher: whether higher is better.
    """

    title: str
    statistic: Statistic
    digits: int = 3
    headline: bool = False
    higher: bool = True


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Results of an evaluation other than the scores.

    Attributes:
        facts: JSON values for metrics.json.
        lines: lines to print.
        legend: makes a legend (row, width, 3) uint8 of a given width, shown below the pictures.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    legend: Callable[[int], np.ndarray] | None = None


@dataclass(frozen=True)
class Predicted:
    """The prediction for one image.

    Attributes:
        text: a line to print.
        files: the files that were written.
        facts: the prediction as JSON values, for programs.
    """

    text: str
    files: Sequence[Path]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFile:
    """An image file, and the name of its results: a path without suffix, relative to the output folder."""

    path: Path
    name: str

    def within(self, out: Path, suffix: str) -> Path:
        """Path of the result with that suffix (dot included)."""
        return out / f"{self.name}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How `codistill predict` runs a task on a user's own images.

    Attributes:
        options: class of the options: `Task.test`, or a class derived from it.
        run: predicts for one image, given model, pixels (row, column, 3) uint8, the image's names, options and output
            folder.
        writes: one line on the files that `run` writes.
    """

    options: type
    run: Callable[[Any, np.ndarray, ImageFile, Any, Path], Predicted]
    writes: str


@dataclass(frozen=True)
class NoOptions:
    """Options of a head that has none."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How a task's heads answer from tokens that several heads share (`codistill.Perception`).

    The encoder runs once, and every head reads the tokens of that pass.

    Attributes:
        answer: given a model, and images with the tokens that its `features` asks for, returns one answer per image;
            with `together`, a single answer.
        gives: class of the answers.
        size: given a model, returns the length in pixels of an image's longer side at which it was fitted.
        options: class of the options.
        load: loads a model from a subject and options (None if there are none); the model has `features`
            (a `FrozenFeatures`) and `to(device)`; None: `Task.load` is used.
        prepare: computes in advance what a model would otherwise compute at its first answer, if that takes long.
        together: whether several images of one place give a single answer.
    """

    answer: Callable[[Any, Sequence[Seen]], Sequence[Answer] | Answer]
    gives: type[Answer]
    size: Callable[[Any], int]
    options: type = NoOptions
    load: Callable[[Subject, Any], Any] | None = None
    prepare: Callable[[Any], object] = lambda model: None
    together: bool = False


def _nothing_more(table: ScoreTable, data: TaskData, test: Any) -> Summary:
    return Summary()


def _no_columns(table: ScoreTable) -> Mapping[str, Column]:
    return {}


def _no_column(name: str) -> Column | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: how to open its data, fit and load its heads, score them, and predict.

    Attributes:
        name: name in commands.
        about: one line on the task.
        layouts: layouts of data sets by name, the word before the colon.
        load: loads a model from a subject, test options and data (or None).
        test: class of the scoring options; frozen, with defaults.
        score: yields one outcome per sample, in order, given model, data, test options and runtime.
        columns: scores by name, the main one first.
        more_columns: given a table, returns scores whose names depend on the head (numbers of neighbours).
        named_column: returns the column of such a score from its name alone (model cards); None for other names.
        unit: unit of the scores, for metrics.json.
        samples: the word for the samples: images, pairs.
        shown: titles of the pictures of an outcome; () if there are none.
        config: class of the config of a fit, derived from `HeadFit`; None if nothing is fitted.
        recipes: configs of that class by name; the first is the default.
        fit: fits a head, given the training split, config, runtime and process; returns whether the fit is finished
            (it may be asked to stop). The same call resumes.
        check: given data and whether it is for training, returns notes to print; raises DataError if the data cannot
            be used.
        summarize: returns the results other than the scores, given table, data and test options.
        predict: prediction for a user's own images; None if the task has none.
        sight: answers from shared tokens; None if the task's heads have none.
        baselines: one line on each baseline by name, for `--baseline`.
        on_head: the baselines that replace a part of a head's answer, and therefore need a head.
        heads: name of the task whose heads this task scores, if it is another task.
        features: fields of `FeatureConfig` that a user may choose; () for all.
    """

    name: str
    about: str
    layouts: Mapping[str, Layout]
    load: Callable[[Subject, Any, Any], Any]
    test: type
    score: Callable[[Any, Any, Any, Runtime], Iterator[Outcome]]
    columns: Mapping[str, Column]
    more_columns: Callable[[ScoreTable], Mapping[str, Column]] = _no_columns
    named_column: Callable[[str], Column | None] = _no_column
    unit: str
    samples: str = "images"
    shown: tuple[str, ...] = ("image", "truth", "prediction")
    config: type | None = None
    recipes: Mapping[str, Any] = field(default_factory=dict)
    fit: Callable[[Any, Any, Runtime, Process], bool] | None = None
    check: Callable[[Any, bool], Sequence[str]] = check_samples
    summarize: Callable[[ScoreTable, Any, Any], Summary] = _nothing_more
    predict: Prediction | None = None
    sight: Sight | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)
    on_head: tuple[str, ...] = ()
    heads: str = ""
    features: tuple[str, ...] = ()

    def columns_of(self, table: ScoreTable) -> dict[str, Column]:
        """Every score that may be defined for a table."""
        return {**self.columns, **self.more_columns(table)}

    def column(self, name: str) -> Column | None:
        """The column of a score of this name, whatever head or table it is from; None if the task has no such score."""
        return self.columns.get(name) or self.named_column(name)
