"""Nearest neighbours: unit vectors with classes in, class votes out.

Each of the k most similar training images votes with exp(similarity / T). Source: DINOv2's kNN evaluation.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import ConfigError

NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07


def knn_votes(
    queries: Float[Tensor, "image channel"],
    bank: Float[Tensor, "neighbour channel"],
    labels: Int[Tensor, " neighbour"],
    num_classes: int,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> dict[int, Float[Tensor, "image class"]]:
    """Votes per class for each number of neighbours.

    Args:
        queries: normalized here. All (query, bank) similarities are in memory at once: batch the queries.
        bank: unit vectors (`normalize`).
        labels: classes of the bank.
        num_classes: number of classes.
        neighbours: numbers of voters, none larger than the bank.
        temperature: T.

    Raises:
        ConfigError: if the bank is smaller than a number of neighbours.
    """
    most = max(neighbours)
    if not 1 <= min(neighbours) <= most <= bank.shape[0]:
        raise ConfigError(
            f"{list(neighbours)} neighbours are requested; the training images are {bank.shape[0]}"
        )
    similarity = normalize(queries.float(), dim=1) @ bank.T  # (image, neighbour)
    nearest, index = similarity.topk(most, dim=1)
    weights = (nearest / temperature).softmax(1)
    classes = labels[index]
    empty = torch.zeros(queries.shape[0], num_classes)
    return {k: empty.scatter_add(1, classes[:, :k], weights[:, :k]) for k in neighbours}
