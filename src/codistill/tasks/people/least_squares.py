"""The closed-form start of a human-mesh head: stored tokens and labels in, the head's linear window reading set.

Ridge regression of every person's rotations (6-D) and shape from the tokens around its head, over all training images,
as they are and mirrored; the penalty is the best of a few on held-out images. What it gives stays fixed, and the rest
of the head learns what it leaves over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.bodies.base import rotation_to_6d
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.window import window_tokens
from codistill.tasks.people.loading import ViewPlan, assembled

PENALTIES = (0.5, 1.5, 5.0, 15.0)
"""Per person, of standardized tokens."""

_HELD_OUT = 10
"""Every so many-th image chooses the penalty."""
_IMAGES = 32
_SCALED_BY = 2000
"""People whose tokens give the scale."""


@dataclass(frozen=True)
class LeastSquares:
    """What was found.

    Attributes:
        people: that were fitted, mirrored ones included.
        penalty: the best of `PENALTIES`.
        explained: share of the held-out variance of rotations and shape that is explained.
    """

    people: int
    penalty: float
    explained: float


@torch.no_grad()
def start_by_least_squares(
    head: HumanMeshHead, plan: ViewPlan, shape_limit: float, device: torch.device | str = "cpu"
) -> LeastSquares | None:
    """Set `head.around` from a plan with stored tokens; None, and no change, if nobody has parameters.

    Args:
        head: with a window.
        plan: of the training images.
        shape_limit: labels beyond it look alike.
        device: to compute on. The normal matrix is of (window cells * channels)² fp32 values, in memory three times.
    """
    images = range(len(plan.data))
    held = [i for i in images if i % _HELD_OUT == _HELD_OUT - 1] or list(images[-1:])
    fitted = [i for i in images if i not in set(held)] or held
    scale = _scale(head, plan, fitted, shape_limit, device)
    if scale is None:
        return None
    sums = _Sums.of(_people(head, plan, fitted, shape_limit, device), *scale)
    inputs, wanted = (
        torch.cat(part) for part in zip(*_people(head, plan, held, shape_limit, device), strict=True)
    )
    inputs = (inputs - scale[0]) / scale[1]
    if not len(inputs):
        return None
    spread = (wanted - sums.wanted / sums.count).square().sum()
    errors = {}
    for penalty in PENALTIES:
        weight, bias = sums.solve(penalty)
        errors[penalty] = float((inputs @ weight + bias - wanted).square().sum() / spread)
    best = min(errors, key=lambda penalty: errors[penalty])
    weight, bias = sums.plus(inputs, wanted).solve(best)
    weight = weight / scale[1][:, None]
    linear = head.around.linear
    linear.weight.copy_(weight.T)
    linear.bias.copy_(bias - scale[0] @ weight)
    return LeastSquares(sums.count + len(inputs), best, 1.0 - errors[best])


@dataclass(frozen=True)
class _Sums:
    """Of standardized inputs and wanted outputs: their number, sums and products."""

    count: int
    inputs: Float[Tensor, " value"]
    wanted: Float[Tensor, " output"]
    squares: Float[Tensor, "value value"]
    products: Float[Tensor, "value output"]

    @classmethod
    def of(cls, rows: Iterator[tuple[Tensor, Tensor]], mean: Tensor, deviation: Tensor) -> "_Sums":
        """Of all rows."""
        total: _Sums | None = None
        for inputs, wanted in rows:
            inputs = (inputs - mean) / deviation
            if total is None:
                values, outputs = inputs.shape[1], wanted.shape[1]
                zeros = inputs.new_zeros
                total = cls(0, zeros(values), zeros(outputs), zeros(values, values), zeros(values, outputs))
            total = total.plus(inputs, wanted)
        assert total is not None
        return total

    def plus(self, inputs: Tensor, wanted: Tensor) -> "_Sums":
        """With more rows; the matrices are added to in place."""
        self.squares.addmm_(inputs.T, inputs)
        self.products.addmm_(inputs.T, wanted)
        count = self.count + len(inputs)
        return replace(
            self, count=count, inputs=self.inputs + inputs.sum(0), wanted=self.wanted + wanted.sum(0)
        )

    def solve(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Weights (value, output) and bias of the ridge regression with `penalty` per row."""
        count = max(1, self.count)
        mean, target = self.inputs / count, self.wanted / count
        normal = self.squares - count * mean[:, None] * mean[None, :]
        normal.diagonal().add_(penalty * count)
        right = self.products - count * mean[:, None] * target[None, :]
        weight = torch.cholesky_solve(right, torch.linalg.cholesky(normal))
        return weight, target - mean @ weight


def _scale(
    head: HumanMeshHead, plan: ViewPlan, images: Sequence[int], limit: float, device: torch.device | str
) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of the window's values over some people; None if there are none."""
    rows: list[Tensor] = []
    for inputs, _ in _people(head, plan, images, limit, device):
        rows.append(inputs)
        if sum(map(len, rows)) >= _SCALED_BY:
            break
    if not sum(map(len, rows)):
        return None
    values = torch.cat(rows)
    return values.mean(0), values.std(0, correction=0).clamp(min=1e-3)


def _people(
    head: HumanMeshHead, plan: ViewPlan, images: Sequence[int], limit: float, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Window values and what they should give, (person, …) each, of some images at once, as they are and mirrored."""
    assert plan.stored is not None and head.config.window is not None
    side = plan.size // plan.patch_size
    for flip in (False, True)[: plan.stored.values.shape[1]]:
        for start in range(0, len(images), _IMAGES):
            chosen = images[start : start + _IMAGES]
            labels = [plan.stored.labels[i] for i in chosen]
            labels = [one.mirrored(plan.skeleton) for one in labels] if flip else labels
            targets = assembled(plan, labels).targets
            assert targets is not None
            truth = targets.truth
            if truth.rotmat is None or truth.shape is None:
                continue
            patches = plan.stored.patches(chosen, [flip] * len(chosen)).to(device)
            inputs = window_tokens(patches, (side, side), targets.cells.to(device), head.config.window)
            pose = rotation_to_6d(truth.rotmat).flatten(1).to(device) - head.init_pose.to(device)
            shape = truth.shape.clamp(-limit, limit).to(device) - head.init_shape.to(device)
            wanted = torch.cat((pose, shape), dim=1)
            kept = slice(None) if truth.posed is None else truth.posed.to(device)
            yield inputs[kept], wanted[kept]
