"""Compute class scores of images with a fitted classifier: encode to vectors, then vote or apply a linear map."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import CheckpointError, ConfigError
from codistill.tasks.classification.bank import ImageVectors, encode, encode_pictures
from codistill.tasks.classification.config import Votes
from codistill.tasks.classification.data import ClassificationData, check_classes
from codistill.tasks.classification.fit import LABELS, bank_file
from codistill.tasks.classification.knn import knn_votes
from codistill.tasks.classification.logistic import LogisticRegression
from codistill.tasks.classification.released import (
    VECTORS,
    ReleasedClasses,
    class_names,
    read_classifier,
)
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import read_record, read_tensors
from codistill.tasks.shared.pictures import Pictures, in_batches
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.tasks.shared.stored_arrays import is_unfinished
from codistill.tasks.task import Subject

AT_ONCE = 256
"""Images whose votes are counted in one batch."""


@dataclass
class ImageClassifier:
    """An encoder with a classifier of whole images.

    Attributes:
        features: the encoder, on `device`.
        vectors: how an image becomes a vector.
        classes: names of the classes, by number.
        tensors: tensors of the head, on the host.
        bank: for `knn`, vectors of the training images, normalized to length 1. votes: how they vote.
        device: device of the encoder.
    """

    features: FrozenFeatures
    vectors: ImageVectors
    classes: tuple[str, ...]
    tensors: dict[str, Tensor]
    bank: Tensor | None = None
    votes: Votes | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def to(self, device: torch.device | str) -> "ImageClassifier":
        self.device = torch.device(device)
        self.features.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        return {"encoder": self.features.describe()}

    def __call__(self, image: np.ndarray) -> dict[str, Float[Tensor, "1 class"]]:
        """Class scores of an image (row, column, 3) uint8, by variant of the classifier; see `scores`."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.vectors.prepared(image)))
        return self.scores(encode(pixels[None], self.vectors, self.features, self.device))

    def scores_of(
        self, pictures: Pictures, *, batch_size: int, workers: int | None
    ) -> Iterator[dict[str, Float[Tensor, "image class"]]]:
        """Class scores of pictures, in order, computed in batches.

        Raises:
            DataError: if a picture cannot be used.
        """
        batches = in_batches(len(pictures), batch_size)
        waiting: list[Tensor] = []
        for vectors in encode_pictures(
            pictures, batches, self.vectors, self.features, workers=workers, device=self.device
        ):
            waiting.append(vectors)
            if sum(map(len, waiting)) >= AT_ONCE:
                yield self.scores(torch.cat(waiting))
                waiting = []
        if waiting:
            yield self.scores(torch.cat(waiting))

    @torch.inference_mode()
    def scores(self, vectors: Float[Tensor, "image channel"]) -> dict[str, Float[Tensor, "image class"]]:
        """Class scores by variant: votes for each number of neighbours (named `k=20`), or logits (named `linear`)."""
        if self.bank is None or self.votes is None:
            model = LogisticRegression(self.tensors["weight"], self.tensors["bias"], 0.0)
            return {"linear": model(vectors)}
        votes = knn_votes(
            vectors,
            self.bank,
            self.tensors[LABELS],
            len(self.classes),
            self.votes.neighbours,
            self.votes.temperature,
        )
        return {f"k={k}": scores for k, scores in votes.items()}


def load_classifier(
    task: Literal["knn", "linear"], subject: Subject, test: Any, data: ClassificationData | None
) -> ImageClassifier:
    """Load a fitted classifier with its encoder.

    Args:
        task: the task that the head must be fitted for.
        subject: head and encoder, as named by the user.
        data: the data to score, whose classes must match.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if the head is for another task, was fitted on another encoder, or has other classes.
    """
    if subject.head is None or subject.model is not None:
        raise ConfigError(f"which head? add --head HEAD, a folder of `codistill fit {task}`")
    path = subject.head.expanduser()
    said = test.classes if isinstance(test, ReleasedClasses) else None
    if path.is_file() and task == "linear":
        return _released(path, subject, said, data)
    if said is not None:
        raise ConfigError(
            f"classes would have no effect: {path} says itself which it knows. It is for released files."
        )
    record = read_record(path, task)
    if data is not None:
        check_classes(data, record.data.classes)
    features = FrozenFeatures(subject.features or record.features, subject.source)
    check_features(path, record, features, subject.other_encoder)
    # Heads that ship are stored in fp16; sums in fp16 differ between processors.
    tensors = {name: x.float() if x.is_floating_point() else x for name, x in read_tensors(path).items()}
    return ImageClassifier(
        features=features,
        vectors=record.own("test", ImageVectors),
        classes=record.data.classes,
        tensors=tensors,
        bank=_bank(bank_file(path), len(tensors[LABELS])) if task == "knn" else None,
        votes=record.own("head", Votes) if task == "knn" else None,
    )


def _released(
    path: Path, subject: Subject, classes: str | None, data: ClassificationData | None
) -> ImageClassifier:
    if subject.features is None or not subject.features.encoder:
        raise ConfigError(f"{path}: a released classifier does not say its encoder: add --encoder")
    features = FrozenFeatures(subject.features, subject.source)
    tensors = read_classifier(path, features)
    say_unknown(path, subject.features.encoder)
    names = class_names(classes, len(tensors["bias"]), path) if data is None else data.classes
    if len(names) != len(tensors["bias"]):
        raise ConfigError(f"{path} tells {len(tensors['bias'])} classes apart, the data has {len(names)}")
    return ImageClassifier(features, VECTORS, names, tensors)


def class_shares(
    scores: Float[Tensor, " class"], variant: str, classes: Sequence[str], count: int
) -> dict[str, float]:
    """The best classes of an image with their shares: probabilities for `linear`, otherwise shares of the votes."""
    shares = scores.softmax(0) if variant == "linear" else scores / scores.sum()
    best = shares.topk(min(count, len(classes)))
    return {
        str(classes[number]): value
        for value, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    }


def _bank(path: Path, images: int) -> Tensor:
    """Vectors of so many training images, normalized to length 1."""
    try:
        stored = np.load(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}). Fit the head again.") from error
    if len(stored) != images or is_unfinished(path.parent, images):
        raise CheckpointError(
            f"{path.parent}: a fit of this head on other images was not finished, so its vectors and their classes "
            "disagree. The same `codistill fit` command resumes it."
        )
    if not np.isfinite(stored).all():
        raise CheckpointError(f"{path}: holds values that are not finite. Fit the head again.")
    return normalize(torch.from_numpy(stored).float(), dim=1)
