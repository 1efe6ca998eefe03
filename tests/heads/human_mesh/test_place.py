"""Bodies before the camera: placed by head or pelvis, nobody, gradients, mismatched body models."""

from dataclasses import replace

import pytest
import torch
from people_toys import SMALL, made_cameras, made_cells, made_head, made_tokens

from codistill.bodies.tiny import TinyBody
from codistill.geometry.projection import project
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.place import place_bodies, place_people


def test_the_head_lands_on_its_location() -> None:
    body, cameras = TinyBody(), made_cameras()
    people = made_head()(made_tokens(), cameras, made_cells()).people
    bodies = place_people(body, people)
    torch.testing.assert_close(bodies.head, people.head)
    torch.testing.assert_close(
        project(bodies.head, cameras[people.cells.image]), people.location, atol=1e-3, rtol=1e-4
    )
    vertices, joints = bodies.centred()
    expected = body(people.rotmat, people.shape)
    torch.testing.assert_close(vertices, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(joints, expected[1], atol=1e-5, rtol=1e-5)


def test_placing_by_head_and_by_pelvis_agree() -> None:
    body = TinyBody()
    rotmat, shape = torch.eye(3).expand(2, 5, 3, 3), torch.randn(2, 2)
    by_pelvis = place_bodies(body, rotmat, shape, pelvis=torch.tensor([[0.0, 0, 3], [1, 2, 5]]))
    by_head = place_bodies(body, rotmat, shape, head=by_pelvis.head)
    torch.testing.assert_close(by_head.vertices, by_pelvis.vertices)
    torch.testing.assert_close(by_head.pelvis, torch.tensor([[0.0, 0, 3], [1, 2, 5]]))
    with pytest.raises(ValueError, match="either the head or the pelvis"):
        place_bodies(body, rotmat, shape)


def test_nobody_keeps_its_gradient() -> None:
    head = made_head().train()
    nobody = PersonCells.of(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))
    bodies = place_people(TinyBody(), head(made_tokens(), made_cameras(), nobody).people)
    assert bodies.vertices.shape == (0, 40, 3) and bodies.joints.shape == (0, 5, 3)
    (bodies.vertices.sum() + bodies.joints.sum()).backward()
    assert head.pose.weight.grad is not None and not head.pose.weight.grad.any()


def test_gradients_reach_pose_shape_and_place() -> None:
    head = made_head().train()
    bodies = place_people(TinyBody(), head(made_tokens(), made_cameras(), made_cells()).people)
    bodies.vertices.square().sum().backward()
    for last in (head.pose, head.shape, head.camera, head.offset[2]):
        assert last.weight.grad is not None and last.weight.grad.abs().max() > 0


def test_a_head_for_another_body_is_refused() -> None:
    head = made_head(replace(SMALL, n_rot=53, n_shape=10))
    people = head(made_tokens(), made_cameras(), made_cells()).people
    with pytest.raises(
        ValueError, match=r"'tiny' has 5 rotations and 2 shape numbers; the head gives 53 and 10"
    ):
        place_people(TinyBody(), people)
