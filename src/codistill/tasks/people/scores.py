"""Scores of people with bootstrap intervals over groups of images, altogether and by distance, visibility and age.

One row per true person (errors NaN where it was missed) and detection counts per image in. Errors are means over
matched people, as everywhere in this field: read them beside recall.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codistill.metrics.interval import Interval, bootstrap_sums
from codistill.tasks.shared.groups import Groups

ERRORS = ("pve", "pa_pve", "mpjpe", "pa_mpjpe", "place")
"""Per matched person: millimetres, but for `place`, metres between the true and the predicted head."""

GROUPS: dict[str, dict[str, tuple[float, float]]] = {
    "distance": {"below 2 m": (0, 2), "2 to 4 m": (2, 4), "4 to 8 m": (4, 8), "beyond 8 m": (8, np.inf)},
    "visible": {"below half": (0, 0.5), "half to 0.9": (0.5, 0.9), "above 0.9": (0.9, 1.01)},
    "age": {"toddler": (0, 0.31), "child": (0.31, 0.54), "adult": (0.54, 0.78), "elder": (0.78, 1.01)},
}
"""Of the head, metres along the axis; share of the silhouette that is seen; Anny's age. From, up to."""


def precision(counts: np.ndarray) -> np.ndarray:
    """Per cent, from sums (…, [matches, misses, false positives])."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 2])


def recall(counts: np.ndarray) -> np.ndarray:
    """Per cent."""
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 1])


def f1(counts: np.ndarray) -> np.ndarray:
    """Per cent."""
    return _ratio(2 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2])


DETECTION: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f1": f1,
    "precision": precision,
    "recall": recall,
}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, 100.0 * part / np.maximum(whole, 1e-12), np.nan)


@dataclass(frozen=True)
class PeopleScores:
    """What an evaluation counted.

    Attributes:
        counts: (image, 3): matches, misses, false positives.
        people: (true person,) arrays: `image`, `matched`, `distance`, those of `FACTS` that are known, and `ERRORS`.
        names: of the images.
        together: which of them belong together.
    """

    counts: np.ndarray
    people: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    together: Groups

    def errors_by_image(self, name: str, chosen: np.ndarray | None = None) -> np.ndarray:
        """(image, 2): sum of an error over matched people (of those chosen), and how many."""
        values = self.people[name]
        used = np.isfinite(values) if chosen is None else np.isfinite(values) & chosen
        image = self.people["image"][used].astype(int)
        size = len(self.names)
        return np.stack((np.bincount(image, values[used], size), np.bincount(image, minlength=size)), axis=1)

    def intervals(self) -> dict[str, Interval]:
        """Every score that is defined, with its 95 % interval."""
        found = {
            name: bootstrap_sums(self.counts, score, self.together.names) for name, score in DETECTION.items()
        }
        for name in ERRORS:
            sums = self.errors_by_image(name)
            if sums[:, 1].sum():
                found[name] = bootstrap_sums(sums, mean_of_sums, self.together.names)
        return found

    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Recall and PA-PVE (or PA-MPJPE without vertices) by distance, visibility and age, where they are known."""
        error = "pa_pve" if np.isfinite(self.people["pa_pve"]).any() else "pa_mpjpe"
        out: dict[str, dict[str, dict[str, Any]]] = {}
        for fact, bins in GROUPS.items():
            values = self.people.get(fact)
            if values is None or not np.isfinite(values).any():
                continue
            out[fact] = {}
            for title, (low, high) in bins.items():
                chosen = (values >= low) & (values < high)
                if chosen.any():
                    out[fact][title] = self._group(chosen, error)
        return out

    def _group(self, chosen: np.ndarray, error: str) -> dict[str, Any]:
        image, size = self.people["image"][chosen].astype(int), len(self.names)
        matched = np.bincount(image, self.people["matched"][chosen], size)
        whole = np.bincount(image, minlength=size)
        sums = self.errors_by_image(error, chosen)
        group: dict[str, Any] = {
            "people": int(chosen.sum()),
            "recall": asdict(
                bootstrap_sums(np.stack((matched, whole - matched), axis=1), recall, self.together.names)
            ),
        }
        if sums[:, 1].sum():
            group[error] = asdict(bootstrap_sums(sums, mean_of_sums, self.together.names))
        return group

    def summary(self) -> dict[str, Any]:
        """Numbers for a metrics file."""
        matches, misses, wrong = (int(value) for value in self.counts.sum(0))
        return {
            "people": matches + misses,
            "matches": matches,
            "misses": misses,
            "false_positives": wrong,
            "scores": {name: asdict(interval) for name, interval in self.intervals().items()},
            "groups": self.groups(),
        }


def mean_of_sums(sums: np.ndarray) -> np.ndarray:
    """Mean from sums (…, [sum, count])."""
    return _ratio(sums[..., 0], sums[..., 1]) / 100.0


def difference(one: PeopleScores, other: PeopleScores, name: str) -> Interval:
    """A score of `one` minus that of `other`, paired over the same images, each over its own matches."""
    if name in DETECTION:
        pair = np.stack((one.counts, other.counts), axis=1)
        score = DETECTION[name]
    else:
        pair = np.stack((one.errors_by_image(name), other.errors_by_image(name)), axis=1)
        score = mean_of_sums
    return bootstrap_sums(pair, lambda sums: score(sums[:, 0]) - score(sums[:, 1]), one.together.names)
