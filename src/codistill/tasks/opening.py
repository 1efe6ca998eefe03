"""Open the data of a task: from `LAYOUT:FOLDER` and a split to checked samples, with the same rules for all tasks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from codistill.engine.distributed import Process
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.files.idle import refuse_idle
from codistill.files.specs import parse_spec
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.data import limited
from codistill.tasks.shared.head_files import is_head, read_record
from codistill.tasks.task import Task
from codistill.weights.run import CONFIG, is_run


def scored_split(task: Task, spec: str) -> tuple[str, str]:
    """The split that is scored by default, and the reason; see `Layout`.

    Raises:
        ConfigError: if the spec names no known layout.
    """
    return task.layouts[parse_spec(spec, task.layouts)[0]].scored


def open_split(layouts: Mapping[str, Layout], spec: str, split: str, *, partial: bool = False) -> Any:
    """Open a split of a data set with the reader of its layout; returns a `TaskData`.

    Args:
        layouts: the task's layouts by name, the word before the colon.
        spec: `LAYOUT:FOLDER`, e.g. `ade20k:/data/ADEChallengeData2016`.
        split: name of a split that the layout has.
        partial: use the data although images are missing.

    Raises:
        ConfigError: if the spec is empty or names no known layout.
        DataError: if the layout has no such split, the data is incomplete, or the files are laid out differently.
    """
    if not spec:
        raise ConfigError(f"which data set? add --data LAYOUT:FOLDER (layouts: {', '.join(layouts)})")
    name, root = parse_spec(spec, layouts)
    layout = layouts[name]
    if layout.splits and split not in layout.splits:
        raise DataError(f"{spec}: {unknown_name('split', split, layout.splits)}")
    return replace(layout.open(Where(spec, root, split, partial)), partial=partial)


def open_data(
    task: Task,
    spec: str,
    split: str,
    *,
    partial: bool = False,
    limit: int | None = None,
    training: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Any:
    """Open a split of a data set and check it before anything is computed; returns a `TaskData`.

    Args:
        task: the task whose layouts and check apply.
        spec, split, partial: see `open_split`.
        limit: number of samples to use, evenly spread; None: all.
        training: whether a head is to be fitted on the split.
        say: prints notes on the data.

    Raises:
        ConfigError, DataError: see `open_split`; or if some of the data cannot be used.
    """
    data: TaskData = open_split(task.layouts, spec, split, partial=partial)
    for note in data.notes:
        say(f"note: {note}")
    data = replace(data, samples=limited(data.samples, limit))
    for note in task.check(data, training):
        say(note)
    return data


def fit_task(task: Task, config: HeadFit, runtime: Runtime, process: Process | None = None) -> bool:
    """Fit a head and write it to `runtime.out`; the same call resumes an interrupted fit.

    Returns:
        True if the fit is finished; False if it stopped on request.

    Raises:
        ConfigError: if the task fits nothing, the config is invalid, a field of `runtime` would have no effect, or the
            folder holds a head of another task, or is a run.
        DataError, CheckpointError: if the data or a checkpoint cannot be used; the message says what to do.
    """
    if task.fit is None:
        raise ConfigError(f"nothing is fitted for {task.name}")
    refuse_idle(runtime, config.idle_computing())
    if is_head(runtime.out) and (other := read_record(runtime.out).task) != task.name:
        raise ConfigError(
            f"{runtime.out} holds a head for {other}, which one for {task.name} would replace. Name another folder "
            "(--out)."
        )
    if is_run(runtime.out) or (runtime.out / CONFIG).is_file():
        raise ConfigError(
            f"{runtime.out} is a run of a distillation. Name another folder for the head (--out)."
        )
    process = process or Process(device=runtime.device)
    data = open_data(
        task,
        config.data,
        "train",
        partial=config.partial,
        limit=config.limit,
        training=True,
        say=runtime.say,
    )
    return task.fit(data, config, runtime, process)
