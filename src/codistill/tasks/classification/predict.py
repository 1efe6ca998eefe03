"""Vectors of images to class scores, with a fitted classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.files.plain import from_plain
from codistill.tasks.classification.bank import ImageVectors, image_batches
from codistill.tasks.classification.fit import LABELS, Classifier, bank_file
from codistill.tasks.classification.knn import knn_votes
from codistill.tasks.classification.logistic import LogisticRegression
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, HeadRecord, read_record
from codistill.tasks.shared.same_encoder import check_features
from codistill.weights.read import read_checkpoint


@dataclass
class ImageClassifier:
    """An encoder with a classifier of whole images.

    Attributes:
        record: what head.json says.
        features: the encoder, on its device.
        vectors: how an image becomes a vector.
        classes: names by number.
        tensors: of the head.
        bank: the training images' vectors, for `knn`.
    """

    record: HeadRecord
    features: FrozenFeatures
    vectors: ImageVectors
    classes: tuple[str, ...]
    tensors: dict[str, Tensor]
    bank: np.ndarray | None

    @torch.inference_mode()
    def encode(
        self, paths: Sequence[Path], device: torch.device, *, batch_size: int = 32, workers: int | None = 0
    ) -> Float[Tensor, "image channel"]:
        """Vectors of image files.

        Raises:
            DataError: if one cannot be read.
        """
        self.features.to(device)
        batches = image_batches(paths, self.vectors, batch_size, workers, device)
        return torch.cat([self.vectors.vectors(self.features(images)).cpu() for images in batches])

    @torch.inference_mode()
    def scores(self, vectors: Float[Tensor, "image channel"]) -> dict[str, Float[Tensor, "image class"]]:
        """Class scores by variant: one per number of neighbours, or `linear` alone."""
        if self.bank is None:
            model = LogisticRegression(self.tensors["weight"], self.tensors["bias"], 0.0)
            return {"linear": model(vectors)}
        votes = knn_votes(
            vectors,
            torch.from_numpy(np.array(self.bank)),
            self.tensors[LABELS],
            len(self.classes),
            tuple(self.record.fit["neighbours"]),
            float(self.record.fit["temperature"]),
        )
        return {f"k={k}": scores for k, scores in votes.items()}


def load_classifier(
    head: str | Path,
    task: Classifier,
    *,
    features: FeatureConfig | None = None,
    other_encoder: bool = False,
) -> ImageClassifier:
    """A fitted classifier.

    Args:
        head: its folder.
        task: which it must be for.
        features: where its encoder is, if not where it was.
        other_encoder: it may be another one than the head was fitted on; see `shared/same_encoder.py`.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if it is for another task.
    """
    path = Path(head).expanduser()
    record = read_record(path, task)
    tensors = read_checkpoint(path / TENSORS)
    bank = None
    if task == "knn":
        try:
            bank = np.load(bank_file(path), mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{bank_file(path)}: cannot be read ({error}). Fit the head again."
            ) from error
    frozen = FrozenFeatures(features or record.features)
    check_features(path, record, frozen, other_encoder)
    return ImageClassifier(
        record=record,
        features=frozen,
        vectors=from_plain(ImageVectors, record.test, "test"),
        classes=tuple(str(name) for name in record.data["classes"]),
        tensors=tensors,
        bank=bank,
    )
