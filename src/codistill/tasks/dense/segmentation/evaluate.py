"""Score a segmenter on a split: mIoU, accuracies and IoU per class with intervals, and example pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from codistill.errors import ConfigError
from codistill.imaging.colours import label_picture
from codistill.metrics.interval import Interval, bootstrap_sums
from codistill.metrics.segmentation import class_counts, class_iou, mean_accuracy, mean_iou, pixel_accuracy
from codistill.tasks.dense.segmentation.data import SegmentationData
from codistill.tasks.dense.segmentation.predict import Segmenter
from codistill.tasks.shared.data import spread
from codistill.tasks.shared.groups import Groups, named_groups

SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "miou": mean_iou,
    "pixel_accuracy": pixel_accuracy,
    "mean_accuracy": mean_accuracy,
}
"""Per cent; the first is the task's own."""


@dataclass(frozen=True)
class SegmentationResult:
    """Scores of one segmenter on one split.

    Attributes:
        counts: (image, 3, class) per image, see `metrics/segmentation.py`: what paired comparisons need.
        names: of the images.
        groups: which images belong together.
        classes: names by number.
        pictures: rows of input, truth, prediction, (row, column, 3) uint8.
    """

    counts: np.ndarray
    names: tuple[str, ...]
    groups: Groups
    classes: tuple[str, ...]
    pictures: list[list[np.ndarray]]

    def common_classes(self, most: int = 40) -> list[int]:
        """Numbers of the classes with the most labelled or predicted pixels, in their own order."""
        pixels = self.counts.sum(0)[1:].sum(0)
        return sorted(number for number in pixels.argsort()[::-1][:most].tolist() if pixels[number] > 0)

    def absent_classes(self) -> dict[str, bool]:
        """Classes without a labelled pixel in the scored images; whether they were predicted somewhere.

        mIoU leaves out those that were not, and counts those that were as 0, as published evaluations do.
        """
        _, predicted, labelled = self.counts.sum(0)
        return {
            name: bool(predicted[number]) for number, name in enumerate(self.classes) if labelled[number] == 0
        }

    def intervals(self) -> dict[str, Interval]:
        """Every score with its 95 % interval; groups are resampled."""
        return {name: bootstrap_sums(self.counts, score, self.groups.names) for name, score in SCORES.items()}

    def summary(self) -> dict[str, Any]:
        """Numbers for a metrics file."""
        per_class = class_iou(self.counts.sum(0))
        return {
            "scores": {name: asdict(interval) for name, interval in self.intervals().items()},
            "class_iou": {
                name: None if np.isnan(value) else round(float(value), 3)
                for name, value in zip(self.classes, per_class, strict=True)
            },
            "absent_classes": {
                name: "predicted, counts as 0" if there else "left out"
                for name, there in self.absent_classes().items()
            },
        }


def difference(one: SegmentationResult, other: SegmentationResult) -> Interval:
    """mIoU of `one` minus that of `other`, with the interval of the paired difference; the same groups are drawn.

    Raises:
        ConfigError: if they were tested on different images.
    """
    if one.names != other.names:
        raise ConfigError("a paired difference needs the same images in the same order")
    both = np.stack((one.counts, other.counts), axis=1)
    return bootstrap_sums(both, lambda sums: mean_iou(sums[:, 0]) - mean_iou(sums[:, 1]), one.groups.names)


def evaluate_segmentation(
    segmenter: Segmenter,
    data: SegmentationData,
    *,
    pictures: int = 6,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SegmentationResult:
    """Predict and count every image of a split.

    Args:
        segmenter: on its device.
        data: with the head's classes.
        pictures: examples to draw, evenly spread.
        progress: called with images done and in all.

    Raises:
        ConfigError: if the data set has other classes than the head.
        DataError: if a sample cannot be used.
    """
    if data.classes != segmenter.classes:
        raise ConfigError(
            f"the head knows {len(segmenter.classes)} classes ({', '.join(segmenter.classes[:3])} …), {data.spec} has "
            f"{len(data.classes)} ({', '.join(data.classes[:3])} …): fit a head for this data set"
        )
    total, number = len(data.samples), len(data.classes)
    shown = set(spread(total, pictures)) if pictures else set()
    counts, names, rows = [], [], []
    for index in range(total):
        sample = data.samples[index]
        predicted = segmenter(sample.image)
        counts.append(
            class_counts(torch.from_numpy(predicted), torch.from_numpy(sample.target), number).numpy()
        )
        names.append(sample.name)
        if index in shown:
            rows.append(
                [sample.image, label_picture(sample.target, number), label_picture(predicted, number)]
            )
        progress(index + 1, total)
    return SegmentationResult(np.stack(counts), tuple(names), named_groups(data.samples), data.classes, rows)
