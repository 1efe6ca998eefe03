"""Score a people estimator on a split: detections, errors of surfaces and joints, and example pictures.

The ground truth is everybody in front of the camera, independent of the head's grid, so that all heads are scored on
the same people. Published evaluations leave out the farther one of two heads in one cell of the model's own grid; the
option `cells` does so.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.errors import check_least
from codistill.geometry.poses import rotation_angle
from codistill.geometry.projection import project
from codistill.heads.human_mesh.losses import in_front
from codistill.heads.human_mesh.place import place_bodies
from codistill.heads.human_mesh.targets import PeopleTruth, assign_people, before_camera
from codistill.metrics.human_mesh import (
    PersonMatching,
    aligned_point_error,
    match_people,
    mean_point_error,
    relative_to,
)
from codistill.tasks.people.data import PeopleData
from codistill.tasks.people.draw import draw_bodies
from codistill.tasks.people.model import Bodies, PeopleEstimator, PeopleSearch
from codistill.tasks.people.sample import FACTS, PeopleImage
from codistill.tasks.people.scores import ERRORS
from codistill.tasks.people.views import Placement
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.task import Outcome


@dataclass(frozen=True, kw_only=True)
class PeopleTest(PeopleSearch):
    """How people are detected, and which true people count.

    Attributes:
        cells: rows and columns of a grid over the square image; of two heads in one cell only the nearer one counts, as
            in published evaluations. None: everybody counts.
    """

    cells: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "cells")

    @property
    def truth(self) -> str:
        """Which true people count, for metrics.json."""
        if self.cells is None:
            return "everybody before the camera"
        return f"the nearest head of each of {self.cells}x{self.cells} cells"


def score_people(
    model: PeopleEstimator, data: PeopleData, test: PeopleTest, runtime: Runtime
) -> Iterator[Outcome]:
    """Yield an outcome per image with `counts` (matches, misses, false positives) and a row per true person.

    Raises:
        DataError: if an image cannot be used.
    """
    for sample in read_ahead(data.samples.__getitem__, len(data.samples), runtime.workers):
        yield _outcome(sample, model(sample.image, sample.intrinsics), test.cells, data.body)


def _outcome(sample: PeopleImage, found: Bodies, cells: int | None, body: BodyModel) -> Outcome:
    kept = _kept(sample, cells)
    truth = sample.truth.at(kept)
    vertices = _true_vertices(body, truth)
    matching = match_in_image(found, truth, sample.intrinsics)
    counts = np.array((len(matching.pairs), len(matching.misses), len(matching.false_positives)))
    rows = _rows(sample, kept, truth, vertices, found, matching, body)
    return Outcome(
        sample.name, {"counts": counts}, rows, draw=lambda: _pictures(sample, found, vertices, body)
    )


_CELL = 14
"""Side of a cell in pixels; any number gives the same cells."""


def _kept(sample: PeopleImage, cells: int | None) -> Tensor:
    """Indices of the people who count."""
    if cells is None:
        return before_camera(sample.truth).nonzero()[:, 0]
    placement = Placement.of(sample.image.shape[0], sample.image.shape[1], cells * _CELL)
    camera = placement.intrinsics(sample.intrinsics)[None]
    return assign_people(sample.truth, camera, (cells, cells), _CELL).kept


@torch.inference_mode()
def _true_vertices(body: BodyModel, truth: PeopleTruth) -> Tensor | None:
    """Vertices (person, vertex, 3) in the camera frame; NaN for people without parameters."""
    if truth.rotmat is None or truth.shape is None:
        return None
    device = next(body.buffers()).device
    placed = place_bodies(
        body, truth.rotmat.to(device), truth.shape.to(device), pelvis=truth.pelvis.to(device)
    )
    vertices = placed.vertices.cpu()
    return vertices if truth.posed is None else torch.where(truth.posed[:, None, None], vertices, torch.nan)


def match_in_image(found: Bodies, truth: PeopleTruth, intrinsics: Tensor) -> PersonMatching:
    """Match predictions to labels by the projections of each label's known joints; intrinsics (3, 3), pixels."""
    pixels = project(in_front(truth.joints), intrinsics.expand(len(truth), 3, 3))
    return match_people(found.joints_2d, pixels, known=_known(truth))


def _known(truth: PeopleTruth) -> Tensor:
    """Whether a joint has a finite label, (person, joint)."""
    finite = truth.joints.isfinite().all(-1)
    return finite if truth.joint_known is None else finite & truth.joint_known


def _rows(
    sample: PeopleImage,
    kept: Tensor,
    truth: PeopleTruth,
    vertices: Tensor | None,
    found: Bodies,
    matching: PersonMatching,
    body: BodyModel,
) -> dict[str, np.ndarray]:
    """One row per true person of an image."""
    count = len(truth)
    row = {
        "matched": np.zeros(count),
        "distance": truth.head[:, 2].numpy().astype(float),
        **{name: np.full(count, np.nan) for name in (*FACTS, *ERRORS)},
    }
    for name, values in sample.facts.items():
        row[name] = values[kept].numpy().astype(float)
    if not matching.pairs:
        return row
    predicted, true = (torch.tensor(side) for side in zip(*matching.pairs, strict=True))
    row["matched"][true.numpy()] = 1.0
    if vertices is not None:
        own = relative_to(found.vertices[predicted], found.pelvis[predicted])
        theirs = relative_to(vertices[true], truth.pelvis[true])
        row["pve"][true.numpy()] = mean_point_error(own, theirs).numpy()
        whole = theirs.isfinite().all(-1).all(-1)
        if whole.any():
            row["pa_pve"][true[whole].numpy()] = aligned_point_error(own[whole], theirs[whole]).numpy()
    if truth.rotmat is not None:
        turned = rotation_angle(found.rotmat[predicted, 0].mT @ truth.rotmat[true, 0])
        if truth.posed is not None:
            turned = torch.where(truth.posed[true], turned, torch.nan)
        row["root"][true.numpy()] = torch.rad2deg(turned).numpy()  # NaN without parameters
    place = (found.head[predicted] - truth.head[true]).norm(dim=-1)
    row["place"][true.numpy()] = place.numpy()
    for one, other in matching.pairs:
        row["mpjpe"][other], row["pa_mpjpe"][other] = _joint_errors(found, one, truth, other, body)
    return row


def _joint_errors(
    found: Bodies, one: int, truth: PeopleTruth, other: int, body: BodyModel
) -> tuple[float, float]:
    """MPJPE and PA-MPJPE of a matched pair over the labelled main joints."""
    chosen = torch.tensor(body.main_joints)
    chosen = chosen[_known(truth)[other, chosen]]
    own = (found.joints[one] - found.pelvis[one])[chosen]
    theirs = (truth.joints[other] - truth.pelvis[other])[chosen]
    aligned = float(aligned_point_error(own, theirs)) if len(chosen) > 2 else float("nan")
    return float(mean_point_error(own, theirs)) if len(chosen) else float("nan"), aligned


def _pictures(
    sample: PeopleImage, found: Bodies, vertices: Tensor | None, body: BodyModel
) -> list[np.ndarray]:
    """Image, ground truth and prediction."""
    camera, faces = sample.intrinsics.numpy(), body.faces.cpu().numpy()
    true = sample.image if vertices is None else draw_bodies(sample.image, camera, vertices.numpy(), faces)
    return [sample.image, true, draw_bodies(sample.image, camera, found.vertices.numpy(), faces)]
