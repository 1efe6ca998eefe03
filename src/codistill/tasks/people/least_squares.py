"""Start a human-mesh head in closed form: fit the head's linear reading of a window to stored tokens and labels.

Ridge regression predicts each person's rotations (6-D) and shape from the tokens around the person's head, over all
training images and their mirror images. The penalty is chosen to minimize the vertex error after alignment on held-out
images. It is not chosen by the error of rotations, because most of them are of fingers and faces. Wide tokens are
reduced to their first principal components, which bounds the size of the normal matrix for every encoder.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.geometry.rotations import rotation_from_6d, rotation_to_6d
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.place import pose_bodies
from codistill.heads.human_mesh.window import window_tokens
from codistill.metrics.human_mesh import aligned_point_error
from codistill.nn.moments import RidgeSums
from codistill.tasks.people.loading import ViewPlan, assembled
from codistill.tasks.shared.groups import named_groups, split_groups

PENALTIES, LARGER = (0.15, 0.5, 1.5, 5.0, 15.0), (50.0, 150.0, 500.0, 1500.0)
"""Candidate penalties per person, for standardized tokens; larger ones are tried while the largest is the best."""

VALUES = 12_288
"""Largest number of values read from a window: the normal matrix then has 604 MB, and is in memory three times."""

_HELD_OUT = 10
"""One image in this many is held out to choose the penalty."""
_IMAGES = 32
_BODIES = 256
"""Images that are read at once, and bodies that are posed at once."""
_SCALED_BY = 2000
"""Number of people whose tokens define the scale."""


@dataclass(frozen=True)
class LeastSquares:
    """Result of the regression.

    Attributes:
        people: number of people fitted, mirrored ones included.
        penalty: the best of `PENALTIES` and, if the largest of them is the best, of `LARGER`.
        error: mean distance of vertices after alignment on held-out images, mm; NaN if nobody is held out.
        mean_error: the same for the mean rotations and shape.
    """

    people: int
    penalty: float
    error: float
    mean_error: float


@torch.no_grad()
def start_by_least_squares(
    head: HumanMeshHead, plan: ViewPlan, body: BodyModel, device: torch.device | str = "cpu"
) -> LeastSquares | None:
    """Set `head.around` from a plan with stored tokens; if nobody has parameters, return None and change nothing.

    Args:
        head: a head with a window.
        plan: plan of the training images.
        body: body model of the labels, or a thinned one; it clamps shapes to its limit.
        device: device to compute on.
    """
    body, limit = body.to(device), body.shape_limit
    held, fitted = _held_out(plan)
    sample = _sample(_people(head, plan, fitted, limit, device))
    if sample is None:
        return None
    basis = _basis(sample, head.config.encoder_dim, sample.shape[1] // head.config.encoder_dim)
    sample = _projected(sample, basis)
    mean, deviation = sample.mean(0), sample.std(0, correction=0).clamp(min=1e-3)

    def rows(images: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, wanted in _people(head, plan, images, limit, device):
            yield (_projected(inputs, basis) - mean) / deviation, wanted

    # Normal equations are summed over batches: all rows together would not fit into memory.
    sums = RidgeSums(dtype=torch.float32)
    for row in rows(fitted):
        sums.add(*row)
    held_out = list(rows(held))
    if sum(len(inputs) for inputs, _ in held_out):
        inputs, wanted = (torch.cat(part) for part in zip(*held_out, strict=True))  # (person, …)
        truth = _vertices(body, head, wanted)
        mean_error = _error(body, head, sums.means()[1].expand_as(wanted), truth)
        best, errors = PENALTIES[0], {}
        for penalty in (*PENALTIES, *LARGER):
            weight, bias = sums.solve(penalty)
            errors[penalty] = _error(body, head, inputs @ weight + bias, truth)
            best = min(errors, key=lambda penalty: errors[penalty])
            if penalty >= PENALTIES[-1] and best < penalty:
                break
        sums.add(inputs, wanted)  # with the chosen penalty, the fit uses everybody
        error = errors[best]
    else:  # too few images to choose a penalty
        best, error, mean_error = max(PENALTIES), math.nan, math.nan
    weight, bias = sums.solve(best)
    # Undo the standardization and the projection, so that the head reads plain tokens.
    weight = weight / deviation[:, None]
    linear = head.around.linear
    linear.bias.copy_(bias - mean @ weight)
    linear.weight.copy_(_projected(weight.T, basis.T).contiguous())
    return LeastSquares(sums.count, best, error, mean_error)


def _held_out(plan: ViewPlan) -> tuple[list[int], list[int]]:
    """Indices of the images that choose the penalty, and of the others; no group (scene, sequence) is in both.

    If all images form one group, none is held out, and the largest penalty is taken.
    """
    wanted = len(plan.data) // _HELD_OUT
    groups = named_groups(plan.data)
    if not wanted or groups.count < 2:
        return [], list(range(len(plan.data)))
    split = split_groups(groups, wanted, plan.seed)
    return list(split.held_out), list(split.training)


def _vertices(body: BodyModel, head: HumanMeshHead, outputs: Float[Tensor, "person output"]) -> Tensor:
    """Vertices (person, vertex, 3) relative to the pelvis, of bodies posed by fitted outputs."""
    found = []
    for some in outputs.split(_BODIES):
        pose, shape = some.split((head.init_pose.shape[1], head.init_shape.shape[1]), dim=1)
        rotations = rotation_from_6d((pose + head.init_pose.to(pose)).unflatten(1, (-1, 6)))  # (…, 3, 3)
        found.append(pose_bodies(body, rotations, shape + head.init_shape.to(shape))[0])
    return torch.cat(found)


def _error(body: BodyModel, head: HumanMeshHead, outputs: Tensor, truth: Tensor) -> float:
    """Mean distance of vertices after alignment, mm."""
    return float(aligned_point_error(_vertices(body, head, outputs), truth).mean())


def _sample(rows: Iterator[tuple[Tensor, Tensor]]) -> Tensor | None:
    """Window values of some people; None if there are none."""
    found: list[Tensor] = []
    for inputs, _ in rows:
        found.append(inputs)
        if sum(map(len, found)) >= _SCALED_BY:
            break
    return torch.cat(found) if sum(map(len, found)) else None


def _basis(
    sample: Float[Tensor, "person value"], channels: int, cells: int
) -> Float[Tensor, "channel component"]:
    """First principal components of the tokens; all of them if there are few channels.

    They are not centred, since cells outside of the image are 0.
    """
    components = max(1, VALUES // cells)
    if channels <= components:
        return torch.eye(channels, device=sample.device)
    tokens = sample.unflatten(1, (-1, channels)).flatten(0, 1)  # (person x cell, channel)
    return torch.linalg.eigh(tokens.T @ tokens).eigenvectors[:, -components:]  # eigenvalues ascend


def _projected(values: Float[Tensor, "row value"], basis: Float[Tensor, "a b"]) -> Float[Tensor, "row other"]:
    """Project every cell's channels onto a basis."""
    if basis.shape[0] == basis.shape[1]:  # all components: an identity
        return values
    return (values.unflatten(1, (-1, basis.shape[0])) @ basis).flatten(1)  # (row, cell x component)


def _people(
    head: HumanMeshHead, plan: ViewPlan, images: Sequence[int], limit: float, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Window values and their targets, (person, …) each, of some images and their mirror images."""
    assert plan.stored is not None and head.config.window is not None
    side = plan.size // plan.patch_size  # cells
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
            pose = rotation_to_6d(truth.rotmat).flatten(1).to(device) - head.init_pose.to(device)  # residuals
            shape = truth.shape.clamp(-limit, limit).to(device) - head.init_shape.to(device)
            wanted = torch.cat((pose, shape), dim=1)
            kept = slice(None) if truth.posed is None else truth.posed.to(device)
            yield inputs[kept], wanted[kept]
