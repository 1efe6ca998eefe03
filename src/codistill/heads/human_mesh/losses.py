"""Losses of the human-mesh head: focal loss for detection, L1 for everything else.

Takes predictions, placed bodies and targets; gives one scalar and every term. It is pure: no host synchronization, no
global state. A term is a mean over this batch's people (or points); it is 0 if there are none, and 0 if it is not
finite.

Source: Multi-HMR (arXiv 2402.14654), section 3.4.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from codistill.errors import check_least
from codistill.geometry.projection import project
from codistill.heads.human_mesh.place import PlacedBodies
from codistill.heads.human_mesh.prediction import HumanMeshOutput
from codistill.heads.human_mesh.targets import PeopleTargets
from codistill.nn.precision import full_precision

TERMS = (
    *("detection", "offset", "rotmat", "shape", "depth", "head"),
    *("joints_3d", "vertices_3d", "joints_2d", "vertices_2d"),
)
"""Names of the terms; each has a weight in `HumanMeshLossConfig`."""


@dataclass(frozen=True, kw_only=True)
class HumanMeshLossConfig:
    """Weights of the terms; the defaults are the published ones.

    Attributes:
        detection: focal loss of the scores.
        offset: L1, cells.
        rotmat: L1 over all entries.
        shape: L1.
        depth: L1 of encoded depth.
        head: L1 of the head joint's position, metres.
        joints_3d, vertices_3d: L1 relative to the pelvis, metres.
        joints_2d, vertices_2d: L1 of projections, pixels, for points whose true projection is inside the image.
        projections_from: optimizer step from which these two terms count (published: epoch 10 of 10 000 steps).
        clamp_scores: clamp scores to [1e-4, 1 - 1e-4] as published; a person with a lower score then has no gradient.
    """

    detection: float = 10.0
    offset: float = 1.0
    rotmat: float = 0.1
    shape: float = 1.0
    depth: float = 1.0
    head: float = 1.0
    joints_3d: float = 100.0
    vertices_3d: float = 100.0
    joints_2d: float = 1.0
    vertices_2d: float = 1.0
    projections_from: int = 100_000
    clamp_scores: bool = False

    def __post_init__(self) -> None:
        check_least(self, *TERMS, "projections_from", least=0)


@dataclass(frozen=True)
class HumanMeshLoss:
    """The scalar to differentiate, and each term before weighting, detached (NaN: not computed at this step)."""

    loss: Tensor
    terms: dict[str, Tensor]


def human_mesh_loss(
    output: HumanMeshOutput,
    bodies: PlacedBodies,
    targets: PeopleTargets,
    intrinsics: Float[Tensor, "batch 3 3"],
    image_size: tuple[int, int],
    config: HumanMeshLossConfig | None = None,
    *,
    step: int = 0,
) -> HumanMeshLoss:
    """Compute all terms of a batch whose people were predicted at `targets.cells`.

    Args:
        output: output of the head for `targets.cells`.
        bodies: its people, placed by `place_people`.
        targets: from `assign_people`.
        intrinsics, image_size: those of the encoder's input, pixels; size as (rows, columns).
        config: None: the published weights.
        step: optimizer step, for `projections_from`.
    """
    config = config or HumanMeshLossConfig()
    with full_precision(output.score_logits):
        terms = _cell_terms(output, targets, config) | _body_terms(output, bodies, targets)
        if step >= config.projections_from:
            own = intrinsics.float()[targets.cells.image]  # (person, 3, 3)
            terms |= _projection_terms(bodies, targets, own, image_size)
        total = torch.zeros((), device=output.score_logits.device)
        for name, value in terms.items():
            terms[name] = value = torch.where(value.isfinite(), value, 0.0)  # as published
            total = total + getattr(config, name) * value
        missing = torch.full((), float("nan"), device=total.device)  # every step logs the same terms
        return HumanMeshLoss(total, {name: terms.get(name, missing).detach() for name in TERMS})


def _cell_terms(
    output: HumanMeshOutput, targets: PeopleTargets, config: HumanMeshLossConfig
) -> dict[str, Tensor]:
    people = output.people
    return {
        "detection": detection_loss(output.score_logits, targets.score_map, clamp=config.clamp_scores),
        "offset": mean_over((people.offset - targets.offset).abs().sum(-1)),
        "depth": mean_over((people.encoded_depth - targets.encoded_depth).abs()),
        "head": mean_over((people.head - targets.truth.head).abs().sum(-1)),
    }


def _body_terms(output: HumanMeshOutput, bodies: PlacedBodies, targets: PeopleTargets) -> dict[str, Tensor]:
    people, truth = output.people, targets.truth
    vertices, joints = bodies.centred()  # (person, vertex or joint, 3)
    joints_3d = (joints - (truth.joints - truth.pelvis[:, None])).abs().sum(-1)  # (person, joint)
    terms = {"joints_3d": mean_over(joints_3d, truth.joint_known)}
    if truth.rotmat is not None:
        distance = (people.rotmat - truth.rotmat).abs().flatten(1).sum(-1)  # (person,)
        terms["rotmat"] = mean_over(distance, truth.posed)
    if truth.shape is not None:
        common = min(people.shape.shape[1], truth.shape.shape[1])  # SMPL-X labels may have fewer
        distance = (people.shape[:, :common] - truth.shape[:, :common]).abs().sum(-1)
        terms["shape"] = mean_over(distance, truth.posed)
    if truth.vertices is not None:
        distance = (vertices - (truth.vertices - truth.pelvis[:, None])).abs().sum(-1)  # (person, vertex)
        terms["vertices_3d"] = mean_over(distance.mean(-1), truth.posed)
    return terms


def _projection_terms(
    bodies: PlacedBodies, targets: PeopleTargets, intrinsics: Tensor, image_size: tuple[int, int]
) -> dict[str, Tensor]:
    truth = targets.truth
    terms = {
        "joints_2d": projection_loss(bodies.joints, truth.joints, intrinsics, image_size, truth.joint_known)
    }
    if truth.vertices is not None:
        known = None if truth.posed is None else truth.posed[:, None].expand(truth.vertices.shape[:2])
        terms["vertices_2d"] = projection_loss(bodies.vertices, truth.vertices, intrinsics, image_size, known)
    return terms


def detection_loss(
    logits: Float[Tensor, "batch row column"],
    score_map: Float[Tensor, "batch row column"],
    *,
    clamp: bool = False,
) -> Tensor:
    """Penalty-reduced focal loss over all cells of a batch, divided by the number of people.

    -[sum of log(p) (1 - p)^2 over people's cells + sum of log(1 - p) p^2 over all others] / people; without people it
    is not divided. It is computed from logits, so that a gradient remains for every score, however low.

    Args:
        clamp: clamp scores to [1e-4, 1 - 1e-4] first, as published.
    """
    logits = logits.float()
    if clamp:
        limit = torch.logit(torch.tensor(1e-4)).item()
        logits = logits.clamp(limit, -limit)
    positive = -logsigmoid(logits) * (-logits).sigmoid().square() * score_map
    negative = -logsigmoid(-logits) * logits.sigmoid().square() * (1.0 - score_map)
    return (positive.sum() + negative.sum()) / score_map.sum().clamp(min=1.0)


def projection_loss(
    predicted: Float[Tensor, "person point 3"],
    truth: Float[Tensor, "person point 3"],
    intrinsics: Float[Tensor, "person 3 3"],
    image_size: tuple[int, int],
    known: Tensor | None = None,
) -> Tensor:
    """L1 distance of projections in pixels, for points whose true projection is strictly inside the image.

    It is a mean over *all* known points, as published: people half outside of the image count less.
    """
    true_pixels = project(in_front(truth), intrinsics)  # (person, point, 2)
    pixels = project(in_front(predicted), intrinsics)
    limit = torch.tensor([image_size[1], image_size[0]], device=pixels.device) - 0.5  # (x, y)
    inside = ((true_pixels > -0.5) & (true_pixels < limit)).all(-1) & (truth[..., 2] > 0.0)
    distance = (pixels - true_pixels).abs().sum(-1)  # (person, point)
    return mean_over(torch.where(inside, distance, 0.0), known)


def in_front(points: Float[Tensor, "*batch 3"], nearest: float = 0.01) -> Float[Tensor, "*batch 3"]:
    """Clamp z of points to at least `nearest` metres (without gradient there), so that projections are finite."""
    return torch.cat((points[..., :2], points[..., 2:].clamp(min=nearest)), dim=-1)


def mean_over(values: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean of the known values; 0, with a gradient of 0, if there are none."""
    if known is None:
        return values.sum() / max(1, values.numel())
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)
