"""Export of an image classifier (linear, or nearest neighbours) with its encoder: images in, scores per class out."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from codistill.deploy.config import ExportConfig, refuse
from codistill.deploy.exportable import about_encoder
from codistill.deploy.levels import Levels, OnLevels
from codistill.errors import ConfigError
from codistill.programs.record import Port
from codistill.tasks.classification.fit import LABELS
from codistill.tasks.classification.knn import knn_votes
from codistill.tasks.classification.logistic import LogisticRegression
from codistill.tasks.classification.model import load_classifier
from codistill.tasks.task import Subject


class LinearScores(nn.Module):
    """Map vectors (image, channel) to logits (image, class).

    Args:
        weight: (class, channel).
        bias: (class,).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())

    def forward(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return (LogisticRegression(self.weight, self.bias, 0.0)(vectors),)


class NeighbourVotes(nn.Module):
    """Map vectors (image, channel) to shares of the votes (image, class), for each number of neighbours.

    Args:
        bank: (neighbour, channel), vectors of length 1.
        labels: (neighbour,), their classes.
        num_classes: number of classes.
        neighbours: numbers of neighbours that vote.
        temperature: temperature of the votes.
    """

    bank: Tensor
    labels: Tensor

    def __init__(
        self,
        bank: Tensor,
        labels: Tensor,
        num_classes: int,
        neighbours: tuple[int, ...],
        temperature: float,
    ) -> None:
        super().__init__()
        self.register_buffer("bank", bank)
        self.register_buffer("labels", labels)
        self.num_classes, self.neighbours, self.temperature = num_classes, neighbours, temperature

    def forward(self, vectors: Tensor) -> tuple[Tensor, ...]:
        votes = knn_votes(
            vectors, self.bank, self.labels, self.num_classes, self.neighbours, self.temperature
        )
        return tuple(found / found.sum(1, keepdim=True) for found in votes.values())


class ExportedClassifier(OnLevels):
    """Map images or pixels to `logits` (batch, class), or to `votes_K` (batch, class) for each number K of neighbours.

    Resizing and centre crop, as in the fit, are not part of the graph; the ports say the size of the fit's images.

    Args:
        task: `linear` or `knn`.
        folder: folder of the head.
        config: options of the export.

    Raises:
        ConfigError: for options that do not apply.
    """

    def __init__(self, task: Literal["linear", "knn"], folder: Path, config: ExportConfig) -> None:
        super().__init__()
        what = "a classifier of whole images"
        refuse(config, what, "blocks", "norm", "feature_map", "projector", "denormalize", "people", "bodies")
        if config.takes == "tokens":
            raise ConfigError(
                f"{what} is exported with its encoder: alone it is one product with the vectors in {folder}. Choose "
                "--input images or pixels"
            )
        model = load_classifier(task, Subject(head=folder), None, None)
        self.vectors, self.num_classes = model.vectors, len(model.classes)
        self.levels = Levels(model.features, config)
        if model.bank is None or model.votes is None:
            self.classify: nn.Module = LinearScores(model.tensors["weight"], model.tensors["bias"])
            names = {"logits": "logits of the classes"}
        else:
            votes = model.votes
            self.classify = NeighbourVotes(
                model.bank, model.tensors[LABELS], self.num_classes, votes.neighbours, votes.temperature
            )
            names = {f"votes_{k}": f"shares of the votes of {k} neighbours" for k in votes.neighbours}
        self.about = about_encoder(model.features.encoder, task, str(folder), classes=model.classes)
        self.inputs, self.fixed_size = self.levels.ports, config.size
        batch = "batch" if config.batch is None else config.batch
        crop = self.vectors.crop
        self.outputs = tuple(
            Port(
                name=name,
                axes=(batch, self.num_classes),
                meaning=f"{meaning}; fitted on centre crops of {crop}x{crop}, shorter side {self.vectors.resize}",
            )
            for name, meaning in names.items()
        )

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        levels, _ = self.levels(*given)
        return self.classify(self.vectors.vectors(levels))
