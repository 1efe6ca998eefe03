"""Gather the content of the demo page from the files that the commands have written, and from example pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from codistill.analysis.log import read_series
from codistill.demo.pictures import FeatureSheet, features_beside
from codistill.demo.story import Taught
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.imaging import decode_rgb, read_rgb
from codistill.metrics.interval import Interval
from codistill.recipes.recipe import Recipe
from codistill.serve.samples import Samples
from codistill.tasks.card import card_scores

SHEET_ROWS = 4
SHEET_SIZE = 224
"""Size of the images, in pixels, at which features are compared."""


@dataclass(frozen=True)
class Examples:
    """Example pictures, (row, column, 3) uint8.

    Attributes:
        single: single pictures, each with a description.
        pair: two views of one place.
    """

    single: tuple[tuple[str, np.ndarray], ...]
    pair: tuple[np.ndarray, np.ndarray]


def example_pictures(photographs: Sequence[Path]) -> Examples:
    """Shipped rendered pictures, and photographs: the given ones, or else the portrait that comes with matplotlib.

    Raises:
        DataError: if a photograph cannot be read.
    """
    samples = Samples()
    rendered = [
        (title, decode_rgb(samples.data(name), name=name))
        for title, name in (
            ("a rendered room", "room-1"),
            ("rendered people", "people-1"),
            ("a rendered table", "table"),
        )
    ]
    taken = [(path.name, read_rgb(path)) for path in photographs] or _portrait()
    return Examples(
        single=(*rendered, *taken),
        pair=(decode_rgb(samples.data("room-1")), decode_rgb(samples.data("room-2"))),
    )


def _portrait() -> list[tuple[str, np.ndarray]]:
    """Grace Hopper's official portrait (US Navy, public domain), which matplotlib's installation contains."""
    path = resources.files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    try:
        return [
            (
                "a photograph, for heads that saw rendered pictures only (Grace Hopper, US Navy)",
                decode_rgb(path.read_bytes(), name="grace_hopper.jpg"),
            )
        ]
    except OSError:  # some distributions leave out matplotlib's samples
        return []


def taught(run: Path) -> list[Taught]:
    """The teachers of a run with their loss curves, averaged over about sixty intervals.

    Raises:
        DataError: if the run has no log.
    """
    described = {one["name"]: one for one in json.loads((run / "describe.json").read_text())["teachers"]}
    series = read_series(run / "metrics.jsonl")
    found = []
    for name in series.teachers():
        losses = series.values[f"loss/{name}"]
        known = np.isfinite(losses)
        steps, losses = series.steps[known], losses[known]
        parts = np.array_split(np.arange(len(steps)), min(60, len(steps)))
        facts = described[name]
        found.append(
            Taught(
                name=name,
                encoder=str(facts["encoder"]),
                domain=str(facts["domain"]),
                licence=str(facts["licence"]),
                steps=np.array([steps[part[-1]] for part in parts]),
                losses=np.array([losses[part].mean() for part in parts]),
            )
        )
    return found


def training_seconds(run: Path) -> float:
    """Seconds that a run's steps took, by its log: over all calls that trained it.

    Raises:
        DataError: if the run has no log.
    """
    series = read_series(run / "metrics.jsonl")
    each = series.values["time/step"]  # written with the last step of an interval, for all steps of it
    last = np.flatnonzero(np.isfinite(each))
    return float((np.diff(last, prepend=-1) * each[last]).sum())


def likeness_of(files: Mapping[str, Path]) -> tuple[dict[str, dict[str, Interval]], int]:
    """Similarity of predictions to the teacher's tokens, by student and teacher, and the number of images.

    Args:
        files: by teacher, the file that `codistill evaluate distillation --teacher` has written.
    """
    found: dict[str, dict[str, Interval]] = {}
    images = 0
    for teacher, path in files.items():
        for student, by_source in json.loads(path.read_text())["methods"].items():
            value = Interval(**by_source["all"])
            found.setdefault("this run" if student == "run" else student, {})[teacher] = value
            images = value.count
    return found, images


def sheet_of(recipe: Recipe, run: Path, model: str, pictures: Sequence[np.ndarray]) -> FeatureSheet:
    """Features of the recipe's teachers, of the model and of the run's student."""
    encoders: dict[str, Encoder] = {
        teacher.name: load_encoder(teacher.encoder or teacher.name) for teacher in recipe.teachers
    }
    encoders |= {model: load_encoder(model), "this run": load_encoder(run)}
    return features_beside(encoders, [_square(picture) for picture in pictures[:SHEET_ROWS]], size=SHEET_SIZE)


def headline_scores(card: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The headline scores of a model's heads: (head, score, value, data on which it was measured)."""
    rows = []
    for head, facts in card["heads"].items():
        where = f"{facts['images']:,} of {facts['data']}, {facts['split']}" if facts["scores"] else ""
        rows += [
            (head, title, value, where)
            for title, value, headline in card_scores(head, facts["scores"])
            if headline
        ]
    return rows


def _square(picture: np.ndarray) -> np.ndarray:
    """Crop a picture to its middle square, or to its upper one if it is taller than wide."""
    side = min(picture.shape[:2])
    left = (picture.shape[1] - side) // 2
    return picture[:side, left : left + side]
