"""A baseline that every head must beat: the mean body of the training people, placed at each of a head's detections."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.errors import DataError
from codistill.heads.human_mesh.prediction import PeoplePrediction
from codistill.heads.human_mesh.targets import PeopleTruth


@dataclass(frozen=True)
class MeanBody:
    """Mean rotations (that of the root in camera coordinates) and mean shape."""

    rotmat: Float[Tensor, "rotation 3 3"]
    shape: Float[Tensor, " shape"]

    @classmethod
    def of(cls, truths: Iterable[PeopleTruth], shape_limit: float = float("inf")) -> "MeanBody":
        """The mean of labelled people; for rotations, the rotation nearest to their mean matrix (chordal mean).

        Raises:
            DataError: if nobody has parameters.
        """
        matrices, shapes, count = torch.zeros(()), torch.zeros(()), 0
        for truth in truths:
            if truth.rotmat is None or truth.shape is None or not len(truth):
                continue
            posed = torch.ones(len(truth), dtype=torch.bool) if truth.posed is None else truth.posed
            matrices = matrices + truth.rotmat[posed].double().sum(0)
            shapes = shapes + truth.shape[posed].double().clamp(-shape_limit, shape_limit).sum(0)
            count += int(posed.sum())
        if not count:
            raise DataError("a mean body needs people with rotations and shape, and nobody has them")
        return cls(nearest_rotation(matrices / count).float(), (shapes / count).float())

    def in_place_of(self, people: PeoplePrediction) -> PeoplePrediction:
        """The same people at the same places, each with the mean body."""
        count, device = len(people), people.rotmat.device
        return replace(
            people,
            rotmat=self.rotmat.to(device).expand(count, -1, -1, -1),
            shape=self.shape.to(device).expand(count, -1),
            expression=torch.zeros_like(people.expression),
        )


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation with the smallest squared difference from a matrix."""
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(left[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right)
    return (left * sign[..., None, :]) @ right
