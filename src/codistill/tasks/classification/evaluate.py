"""Score a classifier on a split of an image folder: top-1 and top-5, and the mean over classes, with intervals."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError
from codistill.metrics.classification import hits_at, mean_per_class
from codistill.metrics.interval import Interval, bootstrap_mean
from codistill.tasks.classification.data import ImageFolder
from codistill.tasks.classification.predict import ImageClassifier
from codistill.tasks.shared.groups import Groups

RANKS = (1, 5)
"""Top-5 only where there are more than five classes."""


@dataclass(frozen=True)
class ClassificationResult:
    """Scores of one classifier on one split.

    Attributes:
        hits: by variant, (image, rank) whether the true class is among the best `RANKS`.
        labels: (image,) true classes.
        names: of the images.
        groups: which of them belong together.
    """

    hits: Mapping[str, np.ndarray]
    labels: np.ndarray
    names: tuple[str, ...]
    groups: Groups

    def intervals(self) -> dict[str, Interval]:
        """Accuracies in per cent with 95 % intervals (groups are resampled), by variant and rank."""
        return {
            f"{variant} top-{rank}": bootstrap_mean(100.0 * hits[:, column], self.groups.names)
            for variant, hits in self.hits.items()
            for column, rank in zip(range(hits.shape[1]), RANKS, strict=False)
        }

    def summary(self) -> dict[str, Any]:
        """Numbers for a metrics file."""
        return {
            "scores": {name: asdict(interval) for name, interval in self.intervals().items()},
            "mean_per_class_top_1": {
                variant: 100.0 * mean_per_class(hits[:, 0], self.labels)
                for variant, hits in self.hits.items()
            },
        }


def evaluate_classifier(
    classifier: ImageClassifier, data: ImageFolder, vectors: Tensor
) -> ClassificationResult:
    """Score vectors of a split's images.

    Args:
        classifier: fitted.
        data: the split; it must have the classifier's classes.
        vectors: (image, channel), see `ImageClassifier.encode`.

    Raises:
        ConfigError: if the classes differ.
    """
    if data.classes != classifier.classes:
        raise ConfigError(
            f"{data.root} has {len(data.classes)} classes, the head {len(classifier.classes)}, and they must be the "
            "same: fit a head for this folder"
        )
    labels = torch.from_numpy(data.labels)
    ranks = tuple(rank for rank in RANKS if rank < len(data.classes))
    hits = {
        variant: hits_at(scores, labels, ranks).numpy()
        for variant, scores in classifier.scores(vectors).items()
    }
    names = tuple(str(path.relative_to(data.root)) for path in data.paths)
    return ClassificationResult(hits, data.labels, names, data.groups)
