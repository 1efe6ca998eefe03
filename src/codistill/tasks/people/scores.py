"""Scores of people: detection over all images, errors over matched people; in total, by distance, visibility and age.

Takes detection counts per image, and a row per true person (errors are NaN if the person is missed). Errors are means
over matched people, as usual in the field: read them together with recall.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from codistill.metrics.interval import Interval
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import SumsOf
from codistill.tasks.task import Column

ERRORS = ("pve", "pa_pve", "mpjpe", "pa_mpjpe", "place", "root")
"""Errors of a matched person.

They are in millimetres, except `place`, metres between the true and the predicted head, and `root`, degrees between the
rotations of the root, which show in which direction the body faces and leans.
"""

FACING = 30.0
"""Largest error in degrees of a root rotation that counts as correct."""

GROUPS: dict[str, dict[str, tuple[float, float]]] = {
    "distance": {"below 2 m": (0, 2), "2 to 4 m": (2, 4), "4 to 8 m": (4, 8), "beyond 8 m": (8, np.inf)},
    "visible": {"below half": (0, 0.5), "half to 0.9": (0.5, 0.9), "above 0.9": (0.9, 1.01)},
    "age": {"toddler": (0, 0.31), "child": (0.31, 0.54), "adult": (0.54, 0.78), "elder": (0.78, 1.01)},
}
"""Groups by fact, as lower (included) and upper limit (excluded).

`distance` is that of the head along the camera axis in metres, `visible` the visible share of the silhouette, `age`
Anny's age.
"""


def precision(counts: np.ndarray) -> np.ndarray:
    """Precision in per cent, from sums (…, [matches, misses, false positives])."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 2])


def recall(counts: np.ndarray) -> np.ndarray:
    """Recall in per cent, from the same sums as `precision`."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 in per cent, from the same sums as `precision`."""
    return _ratio(2 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, 100.0 * part / np.maximum(whole, 1e-12), np.nan)


def _mean(sums: np.ndarray) -> np.ndarray:
    """Mean from sums (…, [sum, count])."""
    return _ratio(sums[..., 0], sums[..., 1]) / 100.0


def _facing(table: ScoreTable) -> np.ndarray:
    """Per sample, 100 times the number of correct root rotations, and the number of known ones: (sample, 2)."""
    root = table.rows["root"]
    right = np.where(np.isfinite(root), 100.0 * (root < FACING), np.nan)
    return table.by_sample(right)


def _detection(score: Callable[[np.ndarray], np.ndarray]) -> SumsOf:
    return SumsOf(lambda table: table.values["counts"], score, lambda total: bool(np.isfinite(score(total))))


def _error(name: str, chosen: np.ndarray | None = None) -> SumsOf:
    return SumsOf(lambda table: table.by_sample(table.rows[name], chosen), _mean, lambda total: total[1] > 0)


COLUMNS = {
    "f1": Column(title="F1 (%)", statistic=_detection(f1), digits=1, headline=True),
    "precision": Column(title="precision (%)", statistic=_detection(precision), digits=1),
    "recall": Column(title="recall (%)", statistic=_detection(recall), digits=1),
    "pve": Column(title="PVE (mm)", statistic=_error("pve"), digits=1, higher=False),
    "pa_pve": Column(title="PA-PVE (mm)", statistic=_error("pa_pve"), digits=1, headline=True, higher=False),
    "mpjpe": Column(title="MPJPE (mm)", statistic=_error("mpjpe"), digits=1, higher=False),
    "pa_mpjpe": Column(title="PA-MPJPE (mm)", statistic=_error("pa_mpjpe"), digits=1, higher=False),
    "place": Column(title="head is off by (m)", statistic=_error("place"), digits=2, higher=False),
    "root": Column(title="root is turned by (°)", statistic=_error("root"), digits=1, higher=False),
    "root_30": Column(
        title="root within 30° (%)",
        statistic=SumsOf(_facing, _mean, lambda total: total[1] > 0),
        digits=1,
    ),
}
"""Scores by name; F1 is the task's main score."""

Group = Mapping[str, Any]
"""`people` is the number of people; `recall` and, if anybody is matched, an error are intervals."""


def by_group(table: ScoreTable) -> dict[str, dict[str, Group]]:
    """Recall and PA-PVE (PA-MPJPE without vertices) by distance, visibility and age, as far as known."""
    error = "pa_pve" if np.isfinite(table.rows["pa_pve"]).any() else "pa_mpjpe"
    return {
        fact: {title: _group(table, chosen, error) for title, chosen in _bins(table.rows[fact], bins)}
        for fact, bins in GROUPS.items()
        if np.isfinite(table.rows[fact]).any()
    }


def _bins(values: np.ndarray, bins: Mapping[str, tuple[float, float]]) -> Iterator[tuple[str, np.ndarray]]:
    """The bins that are not empty, with a mask of the people in each."""
    for title, (low, high) in bins.items():
        chosen = (values >= low) & (values < high)
        if chosen.any():
            yield title, chosen


def _group(table: ScoreTable, chosen: np.ndarray, error: str) -> Group:
    def matches_and_misses(counted: ScoreTable) -> np.ndarray:
        matched, people = counted.by_sample(counted.rows["matched"], chosen).T
        return np.stack((matched, people - matched), axis=1)

    found: dict[str, Interval | None] = {
        "recall": SumsOf(matches_and_misses, recall).interval(table),
        error: _error(error, chosen).interval(table),
    }
    return {
        "people": int(chosen.sum()),
        **{name: interval for name, interval in found.items() if interval is not None},
    }


def group_lines(groups: Mapping[str, Mapping[str, Group]]) -> list[str]:
    """One line to print per group."""
    lines = []
    for fact, bins in groups.items():
        for title, group in bins.items():
            scores = [
                f"{COLUMNS[name].title} {one.mean:.1f} [{one.limits(1)}]"
                for name, one in group.items()
                if isinstance(one, Interval)
            ]
            lines.append(f"{f'{fact}, {title}':<22} {group['people']:>6} people  {'  '.join(scores)}")
    return lines
