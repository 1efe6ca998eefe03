"""Classification as two tasks: nearest neighbours and a linear classifier, on image folders. See `tasks/task.py`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from codistill.files.writing import write_atomic
from codistill.metrics.classification import hits_at, mean_per_class
from codistill.tasks.classification.config import (
    KNN_RECIPES,
    LINEAR_RECIPES,
    ClassificationOutput,
    ClassificationTest,
    KnnFit,
    LinearFit,
)
from codistill.tasks.classification.data import LAYOUTS, ClassificationData, check_images
from codistill.tasks.classification.fit import fit_knn, fit_linear
from codistill.tasks.classification.model import ImageClassifier, class_shares, load_classifier
from codistill.tasks.classification.sight import NAMED, LabelsAnswer, answer
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import MeanOf
from codistill.tasks.task import Column, ImageFile, Outcome, Predicted, Prediction, Sight, Summary, Task

RANKS = (1, 5)
"""Ranks k of the top-k accuracy; top-5 only with more than five classes."""

_TOP = " top-"

LABEL = "label"
"""Key in the table of an image's class number. All other keys are variants, with hits (image, rank)."""


def _score(
    model: ImageClassifier, data: ClassificationData, test: ClassificationTest, runtime: Runtime
) -> Iterator[Outcome]:
    images = data.images()
    ranks = tuple(rank for rank in RANKS if rank < len(data.classes))
    done = 0
    for scores in model.scores_of(data.samples, batch_size=test.batch_size, workers=runtime.workers):
        count = len(next(iter(scores.values())))
        some = images[done : done + count]
        labels = torch.tensor([image.label for image in some])
        hits = {variant: hits_at(one, labels, ranks).numpy() for variant, one in scores.items()}
        for row, image in enumerate(some):
            yield Outcome(
                image.name, {LABEL: image.label} | {variant: one[row] for variant, one in hits.items()}
            )
        done += count


def _variants(table: ScoreTable) -> dict[str, np.ndarray]:
    return {name: values for name, values in table.values.items() if name != LABEL}


def _columns(table: ScoreTable) -> dict[str, Column]:
    return {
        f"{variant}{_TOP}{rank}": _column(variant, rank)
        for variant, hits in _variants(table).items()
        for rank in RANKS[: hits.shape[1]]
    }


def _named_column(name: str) -> Column | None:
    variant, _, rank = name.rpartition(_TOP)
    return _column(variant, int(rank)) if variant and rank in map(str, RANKS) else None


def _column(variant: str, rank: int) -> Column:
    return Column(
        title=f"{variant}{_TOP}{rank} (%)",
        statistic=MeanOf(variant, RANKS.index(rank), scale=100.0),
        digits=1,
        headline=True,
    )


def _summarize(table: ScoreTable, data: ClassificationData, test: ClassificationTest) -> Summary:
    labels = table.values[LABEL]
    means = {
        variant: 100.0 * mean_per_class(hits[:, 0], labels) for variant, hits in _variants(table).items()
    }
    return Summary(facts={"mean_per_class_top_1": means})


def _predict(
    model: ImageClassifier, pixels: np.ndarray, image: ImageFile, options: ClassificationOutput, out: Path
) -> Predicted:
    found = {
        variant: {
            name: round(share, 6)
            for name, share in class_shares(scores[0], variant, model.classes, NAMED).items()
        }
        for variant, scores in model(pixels).items()
    }
    file = image.within(out, ".json")
    write_atomic(file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    text = "; ".join(
        f"{variant}: " + ", ".join(f"{name} {share:.0%}" for name, share in best.items())
        for variant, best in found.items()
    )
    return Predicted(text, [file], {"classes": found})


SIGHT = Sight(
    answer=answer,
    gives=LabelsAnswer,
    size=lambda model: model.vectors.crop,
    options=ClassificationOutput,
)

LINEAR = Task(
    name="linear",
    about="classes of whole images: logistic regression, or DINOv2's sweep of linear heads",
    layouts=LAYOUTS,
    config=LinearFit,
    recipes=LINEAR_RECIPES,
    fit=fit_linear,
    check=check_images,
    load=partial(load_classifier, "linear"),
    test=ClassificationTest,
    score=_score,
    columns={},
    more_columns=_columns,
    named_column=_named_column,
    unit="per cent",
    shown=(),
    summarize=_summarize,
    sight=SIGHT,
    predict=Prediction(
        options=ClassificationOutput,
        run=_predict,
        writes="DIR/NAME.linear.json (the five likeliest classes with their probabilities)",
    ),
)

KNN = replace(
    LINEAR,
    name="knn",
    about="classes of whole images: nearest neighbours among the training images",
    config=KnnFit,
    recipes=KNN_RECIPES,
    fit=fit_knn,
    load=partial(load_classifier, "knn"),
    predict=Prediction(
        options=ClassificationOutput,
        run=_predict,
        writes="DIR/NAME.knn.json (the five likeliest classes with their shares of the votes)",
    ),
)
"""Scored and shown in the same way as `LINEAR`."""
