"""Fit multinomial logistic regression by L-BFGS, with the regularization strength chosen on held-out images.

The objective is scikit-learn's: |W|^2 / 2 + C * sum of cross entropies, with unpenalized intercepts. Source: the linear
classification of t-ReX and UNIC for small data sets (C from 1e-5 to 1e6, chosen on a held-out fifth of each class, then
a fit on all images), with a grid in place of their random search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from codistill.errors import DataError
from codistill.metrics.interval import group_numbers

STRENGTHS = tuple(float(10.0**exponent) for exponent in range(-5, 7))
_ITERATIONS = 1000
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class LogisticRegression:
    """Fitted weights.

    Attributes:
        weight: (class, channel). bias: (class,).
        strength: the C of the fit.
    """

    weight: Float[Tensor, "class channel"]
    bias: Float[Tensor, " class"]
    strength: float

    def __call__(self, vectors: Float[Tensor, "image channel"]) -> Float[Tensor, "image class"]:
        """Class scores (logits)."""
        return vectors.to(self.weight) @ self.weight.T + self.bias


def fit_logistic(
    vectors: Float[Tensor, "image channel"],
    labels: Int[Tensor, " image"],
    num_classes: int,
    strength: float,
    start: LogisticRegression | None = None,
) -> LogisticRegression:
    """Fit weights (fp32) for one C, starting from zero or from another fit.

    The fit runs in double precision: with a weak penalty the loss is so flat that fp32 stops far from the minimum.
    """
    vectors = vectors.double()
    weight = vectors.new_zeros(num_classes, vectors.shape[1]) if start is None else start.weight.double()
    bias = vectors.new_zeros(num_classes) if start is None else start.bias.double()
    weight.requires_grad_()
    bias.requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=1e-10,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    # The loss is divided by C times the number of images, so that the tolerances mean the same for every C.
    scale = 1.0 / (strength * vectors.shape[0])

    def closure() -> Tensor:
        solver.zero_grad()
        loss = cross_entropy(vectors @ weight.T + bias, labels) + 0.5 * scale * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)  # type: ignore[arg-type]
    return LogisticRegression(weight.detach().float(), bias.detach().float(), strength)


@dataclass(frozen=True)
class Choice:
    """A fit on all images with the best C, and the accuracy (0 to 1) of each C on the held-out images."""

    model: LogisticRegression
    accuracies: dict[float, float]


def choose_logistic(
    vectors: Float[Tensor, "image channel"],
    labels: Int[Tensor, " image"],
    num_classes: int,
    groups: Sequence[str] | None = None,
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    held_out: float = 0.2,
    seed: int = 0,
) -> Choice:
    """Choose C on held-out images of every class (whole groups, `split_per_class`), then fit on all images.

    Raises:
        DataError: if no class has images of two groups.
    """
    kept, held = split_per_class(labels.cpu().numpy(), held_out, seed, groups)
    if held.size == 0:
        raise DataError(
            "no class has two training images (of different groups): there is nothing to choose the regularization with"
        )
    train, test = (torch.from_numpy(part).to(vectors.device) for part in (kept, held))
    accuracies: dict[float, float] = {}
    model: LogisticRegression | None = None
    for strength in sorted(strengths):
        model = fit_logistic(vectors[train], labels[train], num_classes, strength, model)
        hits = (model(vectors[test]).argmax(1) == labels[test]).float()
        accuracies[strength] = float(hits.mean())
    best = max(accuracies, key=lambda strength: accuracies[strength])
    return Choice(fit_logistic(vectors, labels, num_classes, best), accuracies)


def split_per_class(
    labels: np.ndarray, held_out: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of each class with two or more images (rounded up, never all); return indices kept and held out.

    Groups are held out as a whole. A class may then give more than its share, or nothing if its images form one group.

    Args:
        labels: (image,) classes. held_out: the share. seed: seed of the random draw.
        groups: group of each image; None if images are independent.
    """
    generator = np.random.default_rng(seed)
    numbers, count = group_numbers(groups, len(labels))
    rows = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers, minlength=count))[:-1])
    classes, label = np.unique(labels, return_inverse=True)
    left = np.bincount(label, minlength=len(classes))
    held = np.zeros(len(labels), dtype=bool)
    for number in range(len(classes)):
        members = generator.permutation(np.flatnonzero(label == number))
        least = len(members) - min(int(np.ceil(held_out * len(members))), len(members) - 1)
        for image in members.tolist():
            if left[number] <= least:
                break
            group = rows[numbers[image]]
            touched, taken = np.unique(label[group], return_counts=True)
            if not held[image] and (left[touched] > taken).all():
                held[group] = True
                left[touched] -= taken
    return np.flatnonzero(~held), np.flatnonzero(held)
