"""Losses: published numbers, a slow recomputation of every term, zero at the truth, partial labels, gradients."""

import math
from dataclasses import replace

import pytest
import torch
from people_toys import SMALL, made_cameras, made_head, made_tokens, made_truth

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError
from codistill.heads.human_mesh.losses import (
    TERMS,
    HumanMeshLossConfig,
    detection_loss,
    human_mesh_loss,
    projection_loss,
)
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.place import PlacedBodies, place_people
from codistill.heads.human_mesh.prediction import HumanMeshOutput
from codistill.heads.human_mesh.targets import PeopleTargets, assign_people
from codistill.metrics.human_mesh import mean_point_error

ALL = HumanMeshLossConfig(projections_from=0)


def scene(seed: int = 3) -> tuple[HumanMeshOutput, PlacedBodies, PeopleTargets, torch.Tensor]:
    body, cameras = TinyBody(), made_cameras(2)
    targets = assign_people(made_truth(body, seed=seed), cameras, (6, 6), 14)
    output = made_head()(made_tokens(2), cameras, targets.cells)
    return output, place_people(body, output.people), targets, cameras


def test_detection_as_published() -> None:
    scores = torch.tensor([[[0.9, 0.2], [0.1, 0.3]]])
    truth = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert float(detection_loss(scores.logit(), truth)) == pytest.approx(0.0431338, abs=2e-7)
    assert float(detection_loss(scores.logit(), truth, clamp=True)) == pytest.approx(0.0431338, abs=2e-7)
    nobody = sum(-math.log(1 - p) * p * p for p in (0.9, 0.2, 0.1, 0.3))
    assert float(detection_loss(scores.logit(), torch.zeros(1, 2, 2))) == pytest.approx(nobody, rel=1e-5)


def test_a_person_scored_near_zero_is_learned_only_without_the_published_limit() -> None:
    for clamp, learns in ((False, True), (True, False)):
        logits = torch.full((1, 1, 1), -12.0, requires_grad=True)
        detection_loss(logits, torch.ones(1, 1, 1), clamp=clamp).backward()
        assert logits.grad is not None and bool(logits.grad.abs().max() > 0.5) is learns
    far = detection_loss(torch.full((1, 1, 1), -12.0), torch.ones(1, 1, 1), clamp=True)
    assert float(far) == pytest.approx(-math.log(1e-4) * (1 - 1e-4) ** 2, rel=1e-5)


@torch.no_grad()
def test_every_term_person_by_person() -> None:
    output, bodies, targets, cameras = scene()
    truth, people = targets.truth, output.people
    count = len(truth)
    assert count >= 3 and truth.rotmat is not None and truth.shape is not None and truth.vertices is not None
    expected = dict.fromkeys(TERMS, 0.0)
    for i in range(count):
        k = cameras[truth.image[i]]
        expected["offset"] += float((people.offset[i] - targets.offset[i]).abs().sum()) / count
        expected["depth"] += float((people.encoded_depth[i] - targets.encoded_depth[i]).abs()) / count
        expected["head"] += float((people.head[i] - truth.head[i]).abs().sum()) / count
        expected["rotmat"] += float((people.rotmat[i] - truth.rotmat[i]).abs().sum()) / count
        expected["shape"] += float((people.shape[i] - truth.shape[i]).abs().sum()) / count
        for what, ours, theirs in (
            ("joints", bodies.joints[i], truth.joints[i]),
            ("vertices", bodies.vertices[i], truth.vertices[i]),
        ):
            for mine, other in zip(ours, theirs, strict=True):
                flat = (mine - bodies.joints[i, 0]) - (other - truth.joints[i, 0])
                expected[f"{what}_3d"] += float(flat.abs().sum()) / (count * len(ours))
                seen = [(k @ point / point[2])[:2] for point in (mine, other)]
                if (seen[1] > -0.5).all() and (seen[1] < 83.5).all():
                    expected[f"{what}_2d"] += float((seen[0] - seen[1]).abs().sum()) / (count * len(ours))
    scores = output.score_logits.sigmoid()
    focal = torch.where(
        targets.score_map > 0, -scores.log() * (1 - scores) ** 2, -(1 - scores).log() * scores**2
    )
    expected["detection"] = float(focal.sum()) / count
    found = human_mesh_loss(output, bodies, targets, cameras, (84, 84), ALL)
    for name in TERMS:
        assert float(found.terms[name]) == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    weights = (10, 1, 0.1, 1, 1, 1, 100, 100, 1, 1)
    total = sum(w * expected[name] for w, name in zip(weights, TERMS, strict=True))
    assert float(found.loss) == pytest.approx(total, rel=1e-4)


@torch.no_grad()
def test_projections_wait_for_their_step() -> None:
    arguments = (*scene(), (84, 84))
    early = human_mesh_loss(*arguments, step=99_999)
    late = human_mesh_loss(*arguments, step=100_000)
    assert early.terms["joints_2d"].isnan() and late.terms["joints_2d"] > 0
    assert set(early.terms) == set(late.terms) == set(TERMS)
    difference = late.terms["joints_2d"] + late.terms["vertices_2d"]
    torch.testing.assert_close(late.loss - early.loss, difference, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_the_truth_costs_nothing() -> None:
    output, _, targets, cameras = scene()
    truth = targets.truth
    assert truth.rotmat is not None and truth.shape is not None and truth.vertices is not None
    people = replace(
        output.people,
        offset=targets.offset,
        encoded_depth=targets.encoded_depth,
        head=truth.head,
        rotmat=truth.rotmat,
        shape=truth.shape,
    )
    bodies = place_people(TinyBody(), people)
    found = human_mesh_loss(
        HumanMeshOutput(output.score_logits, people), bodies, targets, cameras, (84, 84), ALL
    )
    assert all(float(value) < 1e-3 for name, value in found.terms.items() if name != "detection")


def test_gradients_reach_every_parameter_and_no_one_else() -> None:
    body, cameras = TinyBody(), made_cameras(2)
    targets = assign_people(made_truth(body), cameras, (6, 6), 14)
    head = made_head(replace(SMALL, n_expression=2)).train()
    output = head(made_tokens(2), cameras, targets.cells)
    found = human_mesh_loss(output, place_people(body, output.people), targets, cameras, (84, 84), ALL)
    found.loss.backward()
    without = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert set(without) == {
        "expression.weight",
        "expression.bias",
    }  # published training supervises no expression
    assert all(not value.requires_grad for value in found.terms.values())


def test_a_batch_without_people() -> None:
    body, cameras = TinyBody(), made_cameras(2)
    truth = made_truth(body).at(torch.zeros(0, dtype=torch.int64))
    targets = assign_people(truth, cameras, (6, 6), 14)
    head = made_head().train()
    output = head(made_tokens(2), cameras, targets.cells)
    found = human_mesh_loss(output, place_people(body, output.people), targets, cameras, (84, 84), ALL)
    found.loss.backward()
    assert float(found.loss.detach()) == pytest.approx(10 * float(found.terms["detection"]))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@torch.no_grad()
def test_partial_labels() -> None:
    output, bodies, targets, cameras = scene()
    count, joints = targets.truth.joints.shape[:2]
    posed = torch.arange(count) == 1
    known = torch.zeros(count, joints, dtype=torch.bool)
    known[:, 2] = True
    partial = replace(targets, truth=replace(targets.truth, posed=posed, joint_known=known))
    found = human_mesh_loss(output, bodies, partial, cameras, (84, 84), ALL).terms
    truth = targets.truth
    assert truth.rotmat is not None
    torch.testing.assert_close(found["rotmat"], (output.people.rotmat[1] - truth.rotmat[1]).abs().sum())
    flat = (bodies.joints[:, 2] - bodies.pelvis) - (truth.joints[:, 2] - truth.pelvis)
    torch.testing.assert_close(found["joints_3d"], flat.abs().sum(-1).mean())
    only_joints = replace(truth, rotmat=None, shape=None, vertices=None)
    found = human_mesh_loss(output, bodies, replace(targets, truth=only_joints), cameras, (84, 84), ALL)
    assert found.loss.isfinite() and found.terms["rotmat"].isnan() and found.terms["vertices_2d"].isnan()
    none_posed = replace(targets, truth=replace(truth, posed=torch.zeros(count, dtype=torch.bool)))
    assert human_mesh_loss(output, bodies, none_posed, cameras, (84, 84), ALL).terms["rotmat"] == 0


def test_shapes_of_different_length_share_their_first_numbers() -> None:
    output, bodies, targets, cameras = scene()
    shape = torch.cat((targets.truth.shape, torch.full((len(targets.truth), 1), 9.0)), dim=1)  # type: ignore[list-item]
    longer = replace(targets, truth=replace(targets.truth, shape=shape))
    with torch.no_grad():
        first, second = (human_mesh_loss(output, bodies, t, cameras, (84, 84)) for t in (targets, longer))
    torch.testing.assert_close(first.terms["shape"], second.terms["shape"])


def test_projection_of_points_at_the_camera_is_finite() -> None:
    predicted = torch.tensor([[[0.1, 0.1, 0.0], [0.2, 0.0, -3.0], [0.0, 0.0, 2.0]]], requires_grad=True)
    truth = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [0.3, 0.0, 0.0]]])
    loss = projection_loss(predicted, truth, made_cameras(1), (84, 84))
    loss.backward()
    assert loss.isfinite() and predicted.grad is not None and predicted.grad.isfinite().all()
    assert not predicted.grad[0, 2].any()  # its truth cannot be seen


@torch.no_grad()
def test_a_term_that_is_not_finite_counts_as_zero() -> None:
    output, bodies, targets, cameras = scene()
    broken = replace(
        targets, truth=replace(targets.truth, shape=torch.full((len(targets.truth), 2), math.nan))
    )
    found = human_mesh_loss(output, bodies, broken, cameras, (84, 84))
    assert found.terms["shape"] == 0 and found.loss.isfinite()


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="joints_3d must be 0 or more; got -1"):
        HumanMeshLossConfig(joints_3d=-1)


def test_a_head_learns_a_few_people_by_heart() -> None:
    body, cameras, tokens = TinyBody(), made_cameras(2), made_tokens(2)
    targets = assign_people(made_truth(body), cameras, (6, 6), 14)
    truth = targets.truth
    torch.manual_seed(0)
    head = HumanMeshHead(SMALL, body.init_6d)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)

    def errors() -> tuple[float, float]:
        """PVE in millimetres, and how far the heads are off in metres."""
        with torch.no_grad():
            bodies = place_people(body, head(tokens, cameras, targets.cells).people)
        assert truth.vertices is not None
        pve = mean_point_error(bodies.centred()[0], truth.vertices - truth.pelvis[:, None])
        return float(pve.mean()), float((bodies.head - truth.head).norm(dim=-1).mean())

    before = errors()
    for step in range(80):
        output = head(tokens, cameras, targets.cells)
        bodies = place_people(body, output.people)
        loss = human_mesh_loss(output, bodies, targets, cameras, (84, 84), step=step).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = errors()
    assert after[0] < 0.15 * before[0] and after[1] < 0.15 * before[1], (before, after)
    with torch.no_grad():
        scores = head(tokens, cameras, targets.cells).score_logits.sigmoid()
    assert scores[targets.score_map > 0].min() > scores[targets.score_map == 0].max()
