"""Relocalization as a task: errors of the second camera's pose, scores on a virtual camera, pictures of matches.

It scores a head of `codistill fit two-view`, a released model or a baseline. `two_view/task.py` derives from it. See
`tasks/task.py`.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from codistill.imaging.marks import match_picture
from codistill.tasks.evaluation import intervals, plain_interval
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.task import Outcome, Summary, Task
from codistill.tasks.two_view.layouts import LAYOUTS
from codistill.tasks.two_view.pairs import Pair, check_pairs
from codistill.tasks.two_view.relocalize.baselines import BASELINES, Matches
from codistill.tasks.two_view.relocalize.model import Locator, RelocalizationTest, load_locator
from codistill.tasks.two_view.relocalize.score import COLUMNS, VIRTUAL_SIZE, by_overlap, pose_errors

_IN_LINES = ("vcre_precision_90", "vcre_auc_90", "median_rotation")


def _score(model: Locator, data: TaskData, test: RelocalizationTest, runtime: Runtime) -> Iterator[Outcome]:
    """Locate the second camera of every pair."""
    pair: Pair
    for pair in read_ahead(data.samples.__getitem__, len(data.samples), runtime.workers):
        errors = pose_errors(model.locate(pair), pair.second_from_first)
        draw = None if model.matches is None else partial(_drawn, model.matches, pair)
        yield Outcome(pair.name, {"overlap": pair.overlap, **errors}, draw=draw)


def _drawn(matches: Callable[[Pair], Matches], pair: Pair) -> list[np.ndarray]:
    return [match_picture(pair.first.image, pair.second.image, *matches(pair))]


def _summarize(table: ScoreTable, data: TaskData, test: RelocalizationTest) -> Summary:
    """Scores per bin of overlap."""
    bins = {name: intervals(COLUMNS, part) for name, part in by_overlap(table).items()}
    lines = [
        f"overlap {name} ({found['estimated'].count} pairs): {', '.join(f'{key} {found[key]}' for key in _IN_LINES)}"
        for name, found in bins.items()
    ]
    return Summary(
        facts={
            "virtual_camera": {"width": VIRTUAL_SIZE[0], "height": VIRTUAL_SIZE[1], "focal": 590},
            "by_overlap": {
                name: {key: plain_interval(interval) for key, interval in found.items()}
                for name, found in bins.items()
            },
        },
        lines=tuple(lines),
    )


TASK = Task(
    name="relocalization",
    about="where the second camera of a pair is: a two-view head, a released model, a matcher",
    heads="two-view",
    features=("encoder",),
    layouts=LAYOUTS,
    check=check_pairs,
    load=load_locator,
    test=RelocalizationTest,
    score=_score,
    columns=COLUMNS,
    unit="shares in [0, 1] (precision, AUC, estimated), pixels of the virtual camera, metres, degrees",
    samples="pairs",
    shown=("matches, each in a colour of its own",),
    summarize=_summarize,
    baselines=BASELINES,
)
