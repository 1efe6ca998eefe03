"""A task as a value: all that `fit`, `evaluate` and `predict` need to know of a head.

    data = open_data(TASK, "folder:/data/mine", "val")              # a layout's samples
    TASK.fit(training_data, config, runtime, process)               # HEAD/head.json, HEAD/head.safetensors
    model = TASK.load(Subject(head=HEAD), TASK.test(), data)        # an encoder with its head
    outcomes = TASK.score(model, data, test, runtime)               # one a sample, in order
    found = evaluate(TASK, outcomes, data, test)                    # scores with intervals

A new head is one folder with such a value, and one row of `registry.py`. Other work (distillation, extraction,
reconstruction, Map-free's submissions) has its own commands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codistill.engine.distributed import Process
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import check_samples
from codistill.tasks.shared.features import FeatureConfig, Source
from codistill.tasks.shared.inputs import Samples
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.shared.statistics import Statistic


@dataclass(frozen=True)
class Where:
    """A part of a data set to open.

    Attributes:
        spec: `LAYOUT:FOLDER`, as the user gave it.
        root: the folder.
        split: name of the part.
        partial: use it although images are missing.
    """

    spec: str
    root: Path
    split: str
    partial: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """An opened split; tasks add fields: classes, a protocol, a body model.

    Attributes:
        spec, split: what was opened.
        samples: map-style and picklable; may have `groups`, `inputs_of` and `shared_inputs`.
        partial: images may be missing.
        notes: printed before anything is computed: what was left out or assumed.
    """

    spec: str
    split: str
    samples: Samples
    partial: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A data set's layout on disk, and how to open it.

    Attributes:
        open: gives the split.
        about: one line: what lies where.
        splits: that it has; () for folders of any name.
        exception: a split that is scored in place of what the rule of `scored` gives, and why.
    """

    open: Callable[[Where], TaskData]
    about: str
    splits: tuple[str, ...] = ("train", "val")
    exception: tuple[str, str] | None = None

    @property
    def scored(self) -> tuple[str, str]:
        """The split that is scored if none is named, and why: `test` where the layout has one, else `val`."""
        if self.exception is not None:
            return self.exception
        if not self.splits or "test" in self.splits:
            return "test", "the data's own"
        return "val", "this layout has no test"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What to score or use: head, encoder, baseline.

    Attributes:
        head: a folder that `codistill fit` wrote, or a released file of a head.
        model: a released file of encoder and head together.
        features: replace those that the head was fitted on; needed if the head records none.
        baseline: a name in `Task.baselines`, in place of a head or on top of one.
        other_encoder: allow another encoder than the head was fitted on.
        source: the encoder or student in memory that `features` names; None: load it.
    """

    head: Path | None = None
    model: Path | None = None
    features: FeatureConfig | None = None
    baseline: str | None = None
    other_encoder: bool = False
    source: Source | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of one sample.

    Attributes:
        name: of the sample.
        values: arrays of the same shape for every sample.
        rows: arrays of equal length with a row per item in the sample (a person, a match).
        draw: makes a row of pictures (row, column, 3) uint8: image, truth, prediction; called for few samples.
    """

    name: str
    values: Mapping[str, np.ndarray | float | int]
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    draw: Callable[[], Sequence[np.ndarray]] | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score in tables.

    Attributes:
        title: with its unit, as a table's header has it.
        statistic: computes it from the counts.
        digits: after the point.
        headline: whether short tables show it.
        higher: whether higher is better.
    """

    title: str
    statistic: Statistic
    digits: int = 3
    headline: bool = False
    higher: bool = True


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A task's results beside its columns.

    Attributes:
        facts: for metrics.json; JSON.
        lines: printed.
        legend: a strip (row, width, 3) uint8 of a given width below the pictures.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    legend: Callable[[int], np.ndarray] | None = None


@dataclass(frozen=True)
class Predicted:
    """The prediction for one image.

    Attributes:
        text: a line to print.
        files: written files.
        facts: JSON values for programs.
    """

    text: str
    files: Sequence[Path]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFile:
    """An image file, and the name of its results: a path without suffix, relative to the output."""

    path: Path
    name: str

    def within(self, out: Path, suffix: str) -> Path:
        """Path of the result with that suffix (dot included)."""
        return out / f"{self.name}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How your own images are predicted.

    Attributes:
        options: class of the options: `Task.test`, or one derived from it.
        run: model, pixels (row, column, 3) uint8, the image's names, options and output folder to a `Predicted`.
        writes: one line on the files it writes.
    """

    options: type
    run: Callable[[Any, np.ndarray, ImageFile, Any, Path], Predicted]
    writes: str


@dataclass(frozen=True)
class NoOptions:
    """Nothing can be chosen."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How heads answer from tokens of one pass of an encoder that several of them share (`codistill.Perception`).

    Attributes:
        answer: a model, and images with the tokens that its `features` asks for, to one answer for each image, or to a
            single one if they are seen `together`.
        gives: class of the answers.
        size: a model to the pixels of an image's longer side at which it was fitted.
        options: class of the options.
        load: a subject and options (None where there are none) to a model, which has `features` (a `FrozenFeatures`)
            and `to(device)`; None: as `Task.load`.
        prepare: makes now what a model would make at its first answer, where that takes long.
        together: several images of one place have one answer.
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


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task.

    Attributes:
        name: in commands.
        about: one line.
        layouts: data sets by the word before the colon.
        load: subject, test options and data (or None) to a model.
        test: class of the scoring options; frozen, with defaults.
        score: model, data, test options and runtime to one outcome per sample, in order.
        columns: scores by name, the main one first.
        more_columns: table to scores that depend on the head (numbers of neighbours).
        unit: of the scores, for metrics.json.
        samples: the word for them: images, pairs.
        shown: titles of the outcomes' pictures; () where there are none.
        config: class of a fit, derived from `HeadFit`; None where nothing is fitted.
        recipes: of that class, by name; the first is the default.
        fit: the training split, config, runtime and process to whether it is finished (it may be asked to stop); the
            same call resumes.
        check: raises DataError where data cannot be used, told whether for training; gives what there is to say of it.
        summarize: what there is to say beside the columns.
        predict: images of one's own; None where there is nothing to show.
        sight: answers from shared tokens; None where a head has none.
        baselines: by name, one line each, for `--baseline`.
        on_head: those of them that replace a part of a head's answer, and need one.
        heads: the task whose heads it scores, where that is another one.
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
