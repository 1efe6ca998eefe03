"""Classify by nearest neighbours: from unit vectors and the training images' vectors to votes per class.

Each of the k most similar training images votes with weight exp(similarity / T). Source: DINOv2's kNN evaluation.
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
    """Compute the votes per class, for each number of neighbours.

    Args:
        queries: vectors to classify, normalized by this function. All (query, bank) similarities are in memory at once:
            pass queries in batches.
        bank: unit vectors (`normalize`).
        labels: class numbers of the bank's vectors.
        num_classes: number of classes.
        neighbours: numbers of neighbours that vote, none larger than the bank.
        temperature: T in the weight of a vote.

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
