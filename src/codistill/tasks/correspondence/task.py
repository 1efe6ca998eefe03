"""Geometric correspondence as a task: the share of a pair's best matches that are correct. See `tasks/task.py`."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from codistill.errors import DataError
from codistill.geometry.poses import rotation_angle
from codistill.imaging.colours import error_colours
from codistill.imaging.legends import error_legend
from codistill.imaging.marks import match_picture
from codistill.metrics.correspondence import binned
from codistill.metrics.matching import shares_below
from codistill.tasks.correspondence.layouts import LAYOUTS
from codistill.tasks.correspondence.matching import CorrespondenceTest, PairMatches, match_pair
from codistill.tasks.encoder_alone import DenseFeatures, load_features
from codistill.tasks.evaluation import plain_interval
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import spread
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import MeanOf
from codistill.tasks.task import Column, Outcome, Summary, Task
from codistill.tasks.two_view.pairs import Pair

LIMITS = {
    "diagonal": ("% of the diagonal", (5, 2, 1)),
    "cm": ("cm", (5, 2, 1)),
    "px": ("px", (80, 50, 40, 25, 20, 5)),
}
"""Errors below which a match is correct. 50, 25 and 5 px are Probe3D's limits for NAVI. Its 20, 10 and 5 px for ScanNet
refer to a quarter of the image's resolution, and are 80, 40 and 20 px at the full one."""
HEADLINES = ("recall_5_diagonal", "recall_2_diagonal", "recall_2_cm")
DRAWN, RED = 30, 5.0
"""Number of matches drawn in a picture, and the error, in per cent of the diagonal, that is drawn red."""
_CHECKED = 8


def _check(data: TaskData, training: bool) -> list[str]:
    pairs = [data.samples[index] for index in spread(len(data.samples), _CHECKED)]
    if not pairs:
        raise DataError(f"{data.spec} ({data.split}): there are no pairs")
    known = [
        [(np.isfinite(view.depth) & (view.depth > 0)).any() for view in (p.first, p.second)] for p in pairs
    ]
    if not any(map(all, known)):
        raise DataError(
            f"{pairs[0].name}: no depth is known, so matches cannot be checked. Give depth maps "
            "beside the images; docs/correspondence.md shows the layouts."
        )
    return []


def _score(
    model: DenseFeatures, data: TaskData, test: CorrespondenceTest, runtime: Runtime
) -> Iterator[Outcome]:
    for pair in read_ahead(data.samples.__getitem__, len(data.samples), runtime.workers):
        yield _outcome(pair, match_pair(model, pair, test))


def _outcome(pair: Pair, found: PairMatches) -> Outcome:
    rotation = torch.from_numpy(pair.second_from_first[:3, :3])
    recall = {
        name: 100.0 * np.array(list(shares_below(found.errors[name], limits).values()))
        for name, (_, limits) in LIMITS.items()
    }
    values = {
        **recall,  # NaN without matches
        "visible": 100.0 * found.visible.double().mean().item(),
        "matches": len(found.visible),
        "degrees": torch.rad2deg(rotation_angle(rotation)).item(),
    }
    return Outcome(pair.name, values, draw=partial(_draw, pair, found))


def _draw(pair: Pair, found: PairMatches) -> list[np.ndarray]:
    ends = (pixels[:DRAWN].numpy() for pixels in (found.pixels1, found.pixels2))
    wrong = (found.errors["diagonal"][:DRAWN] / RED).numpy()
    return [
        match_picture(pair.first.image, pair.second.image, *ends, most=DRAWN, colours=error_colours(wrong))
    ]


def _summarize(table: ScoreTable, data: TaskData, test: CorrespondenceTest) -> Summary:
    degrees, known = np.asarray(table.values["degrees"], dtype=np.float64), table.values["matches"] > 0
    numbers = binned(torch.from_numpy(degrees), test.bins).numpy()
    bins, lines = {}, []
    for number, (low, high) in enumerate(pairwise(test.bins)):
        part = table.at(np.flatnonzero((numbers == number) & known))
        if len(part) == 0:
            continue
        found = {name: column.statistic.interval(part) for name, column in COLUMNS.items()}
        there = {name: interval for name, interval in found.items() if interval is not None}
        bins[f"{low:g}-{high:g}"] = {
            "pairs": len(part),
            **{name: plain_interval(interval) for name, interval in there.items()},
        }
        shown = [
            f"{COLUMNS[n].title} {there[n].mean:.1f} [{there[n].limits(1)}]" for n in HEADLINES if n in there
        ]
        lines.append(f"{low:g} to {high:g} degrees, {len(part)} pairs: {', '.join(shown)}")
    outside, unknown = int((numbers < 0).sum()), int((~known).sum())
    if outside:
        lines.append(f"{outside} pairs are outside of all bins; they count in the scores")
    if unknown:
        lines.append(f"{unknown} pairs have no known depth in one of their images, and are left out")
    return Summary(
        facts={"degrees": bins, "pairs_outside_bins": outside, "pairs_without_depth": unknown},
        lines=tuple(lines),
        legend=partial(error_legend, ("right", f"{RED:g} % of the diagonal off, or more")),
    )


COLUMNS = {
    f"recall_{limit}_{name}": Column(
        title=f"within {limit} {unit} (%)",
        statistic=MeanOf(name, index),
        digits=1,
        headline=f"recall_{limit}_{name}" in HEADLINES,
    )
    for name, (unit, limits) in LIMITS.items()
    for index, limit in enumerate(limits)
} | {"visible": Column(title="matches of points that both see (%)", statistic=MeanOf("visible"), digits=1)}

TASK = Task(
    name="correspondence",
    about="the same points in two views of a place: nearest neighbours of dense features, nothing is fitted",
    layouts=LAYOUTS,
    check=_check,
    load=load_features,
    test=CorrespondenceTest,
    score=_score,
    columns=COLUMNS,
    unit="per cent of a pair's best matches; means over pairs",
    samples="pairs",
    shown=(f"{DRAWN} surest matches",),
    summarize=_summarize,
)
