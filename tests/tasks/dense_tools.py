"""Short ways through the library for tests of tasks with a value for every pixel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from codistill.tasks.dense.cached_task import Sampled
from codistill.tasks.dense.depth import task as depth
from codistill.tasks.dense.segmentation import task as segmentation
from codistill.tasks.evaluation import Evaluation, evaluate
from codistill.tasks.opening import fit_task, open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject, Task

QUIET = Console(quiet=True)


def open_segmentation(spec: str, split: str, *, partial: bool = False) -> Any:
    return open_split(segmentation.TASK.layouts, spec, split, partial=partial)


def open_depth(spec: str, split: str, *, partial: bool = False) -> Any:
    return open_split(depth.TASK.layouts, spec, split, partial=partial)


def fitted(task: Task, config: Any, out: Path) -> bool:
    return fit_task(task, config, Runtime(out=out, workers=0, console=QUIET))


def loaded(
    task: Task, head: Path, test: Any = None, features: FeatureConfig | None = None, data: Any = None
) -> Any:
    return task.load(Subject(head=head, features=features), test or task.test(), data)


def scored(task: Task, head: Path, data: Any, *, test: Any = None, pictures: int = 2) -> Evaluation:
    test = test or task.test()
    outcomes = task.score(loaded(task, head, test, data=data), data, test, Runtime(out=head, workers=0))
    return evaluate(task, outcomes, data, test, pictures=pictures)


def difference(task: Task, one: Evaluation, other: Evaluation, score: str) -> Any:
    return task.columns[score].statistic.difference(one.table, other.table)


def every_pixel(tokens: Tensor, truth: Tensor, cls: Tensor | None = None) -> Sampled:
    """Views of 3 x 4 tokens, all of whose 10 x 9 pixels are sampled.

    Args:
        tokens: (view, patch, channel). truth: (view, row, column, …). cls: (view, channel).
    """
    rows, columns = torch.meshgrid(torch.arange(10), torch.arange(9), indexing="ij")
    return Sampled(
        tokens=tokens,
        cls=cls,
        grid=(3, 4),
        rows=rows.flatten().expand(len(tokens), -1),
        columns=columns.flatten().expand(len(tokens), -1),
        truth=truth.flatten(1, 2),
        target_size=(10, 9),
    )


def names(count: int) -> Sequence[str]:
    return [chr(ord("a") + number) for number in range(count)]
