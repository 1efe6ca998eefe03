"""Segmentation as a task: mIoU from counts per image, and overlays with a legend. See `tasks/task.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codistill.imaging.colours import label_picture, overlay
from codistill.imaging.legends import legend_picture
from codistill.imaging.pictures import below
from codistill.metrics.segmentation import (
    IGNORE,
    class_counts,
    class_iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from codistill.tasks.dense.scoring import one_by_one, save_map
from codistill.tasks.dense.segmentation.data import LAYOUTS, SegmentationData, classes_seen
from codistill.tasks.dense.segmentation.fit import RECIPES, SegmentationFit, fit_segmentation
from codistill.tasks.dense.segmentation.model import (
    SegmentationOutput,
    SegmentationTest,
    Segmenter,
    load_segmenter,
)
from codistill.tasks.dense.segmentation.sight import SIGHT, shares_text
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseSample, check_samples
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import SumsOf
from codistill.tasks.task import Column, ImageFile, Outcome, Predicted, Prediction, Summary, Task

LISTED, LEGEND_WIDTH = 24, 240
"""Number of classes in a legend, most frequent first, and its smallest width in pixels, for small images."""


def _check(data: SegmentationData, training: bool) -> list[str]:
    check_samples(data)
    if training:
        return []  # the fit checks the classes itself
    about = classes_seen(data, several=False).about("scoring")
    return [about] if about else []


def _score(
    model: Segmenter, data: SegmentationData, test: SegmentationTest, runtime: Runtime
) -> Iterator[Outcome]:
    return score_segmenter(model, data, runtime.workers)


def score_segmenter(model: Segmenter, data: SegmentationData, threads: int | None) -> Iterator[Outcome]:
    """Yield the counts of every image, with what to draw; for `threads` see `read_ahead`."""
    number = len(data.classes)

    def outcome(sample: DenseSample, predicted: np.ndarray) -> Outcome:
        counts = class_counts(torch.from_numpy(predicted), torch.from_numpy(sample.target), number)
        return Outcome(
            sample.name,
            {"counts": counts.numpy()},
            draw=lambda: [
                sample.image,
                label_picture(sample.target, number),
                label_picture(predicted, number),
            ],
        )

    return one_by_one(model, data.samples, outcome, threads)


def _counts(table: ScoreTable) -> np.ndarray:
    return table.values["counts"]


def _summarize(table: ScoreTable, data: SegmentationData, test: SegmentationTest) -> Summary:
    total = _counts(table).sum(0)  # (3, class): both, predicted, labelled
    # mIoU leaves out classes that are neither labelled nor predicted; a class that is only predicted counts as 0.
    absent = {
        name: bool(total[1, number]) for number, name in enumerate(data.classes) if total[2, number] == 0
    }
    facts = {
        "class_iou": {
            name: None if np.isnan(value) else round(float(value), 3)
            for name, value in zip(data.classes, class_iou(total), strict=True)
        },
        "absent_classes": {
            name: "predicted, counts as 0" if there else "left out" for name, there in absent.items()
        },
    }
    pixels = total[1:].sum(0)
    common = sorted(number for number in pixels.argsort()[::-1][:40].tolist() if pixels[number] > 0)
    return Summary(
        facts=facts,
        lines=(_about_absent(absent, len(data.classes)),) if absent else (),
        legend=lambda width: legend_picture(data.classes, common, width),
    )


def _about_absent(absent: dict[str, bool], classes: int) -> str:
    wrong = sum(absent.values())
    listed = f"{', '.join(list(absent)[:8])}{' …' if len(absent) > 8 else ''}"
    return (
        f"{len(absent)} of {classes} classes have no labelled pixel in these images ({listed}): "
        f"{len(absent) - wrong} are left out of the means, {wrong} were predicted and count as 0 in mIoU"
    )


def _predict(
    model: Segmenter, pixels: np.ndarray, image: ImageFile, options: SegmentationOutput, out: Path
) -> Predicted:
    labels, classes = model(pixels), model.classes
    shares = np.bincount(labels.ravel(), minlength=256)[:IGNORE] / labels.size
    common = [int(number) for number in shares.argsort()[::-1] if shares[number] > 0]
    shown = label_picture(labels, len(classes))
    if not options.plain:
        legend = legend_picture(classes, common[:LISTED], max(pixels.shape[1], LEGEND_WIDTH))
        shown = below(overlay(pixels, shown), legend)
    files = save_map(shown, labels, image, out)
    text = shares_text([(classes[number], float(shares[number])) for number in common], most=5)
    facts: dict[str, Any] = {"classes": {classes[n]: round(float(shares[n]), 6) for n in common}}
    return Predicted(text, files, facts)


TASK = Task(
    name="segmentation",
    about="classes of every pixel: a linear head",
    layouts=LAYOUTS,
    config=SegmentationFit,
    recipes=RECIPES,
    fit=fit_segmentation,
    check=_check,
    load=load_segmenter,
    test=SegmentationTest,
    score=_score,
    columns={
        "miou": Column(title="mIoU (%)", statistic=SumsOf(_counts, mean_iou), digits=1, headline=True),
        "pixel_accuracy": Column(
            title="pixel accuracy (%)", statistic=SumsOf(_counts, pixel_accuracy), digits=1, headline=True
        ),
        "mean_accuracy": Column(
            title="mean accuracy (%)", statistic=SumsOf(_counts, mean_accuracy), digits=1
        ),
    },
    unit="per cent",
    summarize=_summarize,
    sight=SIGHT,
    predict=Prediction(
        options=SegmentationOutput,
        run=_predict,
        writes="DIR/NAME.segmentation.png (laid over the image, with a legend), "
        "DIR/NAME.segmentation.npy (classes, uint8)",
    ),
)
