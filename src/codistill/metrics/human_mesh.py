"""Scores of predicted people: detection, and errors of surfaces and joints of the matched people.

People are matched image by image by their projected joints. Errors are means over matched people only, so they must be
read together with recall. Errors are in millimetres; precision, recall and F1 are shares.
Source: the protocol of Multi-HMR (arXiv 2402.14654), which follows ROMP's matching.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from codistill.geometry.procrustes import procrustes

MIN_OVERLAP = 0.05
"""Smallest intersection over union of the joints' bounding boxes of a matched pair."""

MILLIMETRES = 1000.0


@dataclass(frozen=True)
class PersonMatching:
    """Matched people of one image.

    Attributes:
        pairs: (prediction, truth) indices, in the order they were matched: best first.
        false_positives: predictions without a true person.
        misses: true persons without a prediction.
    """

    pairs: tuple[tuple[int, int], ...]
    false_positives: tuple[int, ...]
    misses: tuple[int, ...]


def match_people(
    predicted: Float[Tensor, "prediction joint 2"],
    truth: Float[Tensor, "truth joint 2"],
    *,
    known: Bool[Tensor, "truth joint"] | None = None,
    min_overlap: float = MIN_OVERLAP,
    early_stop: bool = True,
) -> PersonMatching:
    """Match the people of one image by their projected joints, greedily, best pair first.

    The distance of two people is the largest singular value of their (joint, 2) matrix of differences: the spectral
    norm, as in the published evaluation, not the Frobenius norm. It has no limit; the two boxes only have to overlap.

    Args:
        predicted, truth: the same joints in the same order, pixels; any number of people, including none. A prediction
            that is not finite has no match.
        known: which joints of each true person are labelled; None: those that are finite.
        min_overlap: smallest overlap of the bounding boxes of all joints.
        early_stop: as published, a best pair that does not overlap counts as a wrong prediction at once, and matching
            ends when there are as many wrong and matched pairs together as predictions; this can lose valid pairs.
            False tries every pair.
    """
    predicted, truth = predicted.detach().double().cpu(), truth.detach().double().cpu()
    counts = len(predicted), len(truth)
    pairs: list[tuple[int, int]] = []
    if all(counts):
        cost, overlap = _costs(predicted, truth, truth.isfinite().all(-1) if known is None else known.cpu())
        free_prediction, free_truth = set(range(counts[0])), set(range(counts[1]))
        wrong = 0
        for flat in cost.flatten().argsort(stable=True).tolist():
            if not free_truth or (early_stop and len(pairs) + wrong >= counts[0]):
                break
            prediction, person = divmod(flat, counts[1])  # cost is (prediction, truth)
            if not overlap[prediction, person] >= min_overlap:
                wrong += 1  # published: counted for every such pair, until early_stop ends the matching
            elif prediction in free_prediction and person in free_truth:
                pairs.append((prediction, person))
                free_prediction.remove(prediction)
                free_truth.remove(person)
    matched_predictions, matched_truths = {p for p, _ in pairs}, {t for _, t in pairs}
    return PersonMatching(
        pairs=tuple(pairs),
        false_positives=tuple(i for i in range(counts[0]) if i not in matched_predictions),
        misses=tuple(i for i in range(counts[1]) if i not in matched_truths),
    )


def _costs(predicted: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Distances and box overlaps (prediction, truth), each over the labelled joints of the true person."""
    cost = torch.full((len(predicted), len(truth)), torch.inf, dtype=torch.float64)
    overlap = torch.zeros_like(cost)
    usable = predicted.isfinite().all(-1).all(-1)  # (prediction,)
    for person, joints in enumerate(known & truth.isfinite().all(-1)):
        if joints.any() and usable.any():
            own, theirs = predicted[usable][:, joints], truth[person, joints]
            cost[usable, person] = torch.linalg.matrix_norm(own - theirs, ord=2)
            overlap[usable, person] = box_overlap(joint_boxes(own), joint_boxes(theirs))
    return cost, overlap


def joint_boxes(joints: Float[Tensor, "*batch joint 2"]) -> Float[Tensor, "*batch 4"]:
    """Bounding boxes (left, top, right, bottom) of joints, pixels."""
    return torch.cat((joints.amin(-2), joints.amax(-2)), dim=-1)


def box_overlap(first: Float[Tensor, "*#batch 4"], second: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*_"]:
    """Intersection over union of boxes that include their last pixels: sides are right - left + 1. Broadcasts."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low + 1.0).clamp(min=0.0).prod(-1)  # overlapping pixels
    areas = [(box[..., 2:] - box[..., :2] + 1.0).prod(-1) for box in (first, second)]
    return common / (areas[0] + areas[1] - common)


@dataclass(frozen=True)
class DetectionScores:
    """Detection counts pooled over a set of images; shares of zero people are NaN.

    Attributes:
        matches, misses, false_positives: numbers of people.
    """

    matches: int
    misses: int
    false_positives: int

    @classmethod
    def of(cls, matchings: Iterable[PersonMatching]) -> "DetectionScores":
        """The pooled counts of all images."""
        found = list(matchings)
        return cls(
            sum(len(one.pairs) for one in found),
            sum(len(one.misses) for one in found),
            sum(len(one.false_positives) for one in found),
        )

    @property
    def persons(self) -> int:
        return self.matches + self.misses

    @property
    def precision(self) -> float:
        """Share of predictions that match a person."""
        return _share(self.matches, self.matches + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of people that were found."""
        return _share(self.matches, self.persons)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _share(2 * self.matches, 2 * self.matches + self.misses + self.false_positives)

    def as_published(self) -> dict[str, float]:
        """`precision`, `recall` and `f1` in whole per cent, rounded as published tables are."""
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: round(100.0 * round(share, 2), 6) for name, share in shares.items()}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def mean_point_error(
    predicted: Float[Tensor, "*batch point 3"], truth: Float[Tensor, "*batch point 3"]
) -> Float[Tensor, "*batch"]:
    """Mean distance in millimetres of points given in metres; nothing is aligned.

    With vertices relative to the pelvis this is PVE; with joints relative to the pelvis it is MPJPE.
    """
    return MILLIMETRES * (predicted - truth).norm(dim=-1).mean(-1)


def aligned_point_error(
    predicted: Float[Tensor, "*batch point 3"], truth: Float[Tensor, "*batch point 3"]
) -> Float[Tensor, "*batch"]:
    """`mean_point_error` after the best rotation, scale and translation of the prediction, in fp64.

    With vertices this is PA-PVE, with joints PA-MPJPE. The result keeps the inputs' dtype.
    """
    source, target = predicted.double(), truth.double()
    # If all predicted points are equal, the scale is 0 / 0: they become one point at the target's centre.
    similarity = procrustes(source, target, scale=True)
    scale = similarity.scale.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    center = target.mean(-2, keepdim=True)
    spread = source - source.mean(-2, keepdim=True)  # (*batch, point, 3)
    aligned = scale[..., None, None] * (spread @ similarity.rotation.mT) + center
    return mean_point_error(aligned, target).to(predicted.dtype)


def relative_to(
    points: Float[Tensor, "*batch point 3"], origin: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch point 3"]:
    """Points relative to one point of their body, e.g. the pelvis."""
    return points - origin[..., None, :]
