"""Opening a task's data: `LAYOUT:FOLDER` and a split in, checked samples out; the same rules for all tasks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from codistill.engine.distributed import Process
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.files.idle import refuse_idle
from codistill.files.specs import parse_spec
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.data import limited
from codistill.tasks.task import Layout, Task, TaskData, Where


def scored_split(task: Task, spec: str) -> tuple[str, str]:
    """The split that is scored if none is named, and why; see `Layout`.

    Raises:
        ConfigError: if the spec has no known layout.
    """
    return task.layouts[parse_spec(spec, task.layouts)[0]].scored


def open_split(layouts: Mapping[str, Layout], spec: str, split: str, *, partial: bool = False) -> Any:
    """A split of a data set, as its layout gives it (a `TaskData`).

    Args:
        layouts: of the task, by the word before the colon.
        spec: `LAYOUT:FOLDER`, e.g. `ade20k:/data/ADEChallengeData2016`.
        split: one that the layout has.
        partial: use it although images are missing.

    Raises:
        ConfigError: if the spec is empty or has no known layout or split.
        DataError: if the data is incomplete, or its layout differs.
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
    """A split of a data set (a `TaskData`), checked before anything is computed.

    Args:
        task: with its layouts.
        spec, split, partial: see `open_split`.
        limit: number of samples to use, evenly spread; None: all.
        training: whether a head is to be fitted on it.
        say: prints the data set's notes.

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
    """Fit a head and write it to `runtime.out`; the same call resumes.

    Returns:
        Whether it is finished; False if it stopped on request.

    Raises:
        ConfigError: if the task fits nothing, the config is invalid, or a part of `runtime` would have no effect.
        DataError, CheckpointError: the text says what to do.
    """
    if task.fit is None:
        raise ConfigError(f"nothing is fitted for {task.name}")
    refuse_idle(runtime, config.idle_computing())
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
