"""Mirrored people: twice is as before; the mirrored body seen by the mirrored camera is the flipped picture."""

from dataclasses import replace

import pytest
import torch
from people_toys import made_cameras, made_truth

from codistill.bodies.load import load_body
from codistill.bodies.smplx import FREE, SKELETON
from codistill.bodies.symmetry import counterparts
from codistill.bodies.tiny import TinyBody
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_6d, rotation_from_vector, rotation_vector
from codistill.heads.human_mesh.mirror import (
    mirror_intrinsics,
    mirror_people,
    mirror_points,
    mirror_rotations,
)


def test_twice_is_as_before() -> None:
    body = TinyBody()
    truth = replace(made_truth(body), joint_known=torch.rand(4, 5) < 0.5)
    again = mirror_people(mirror_people(truth, body), body)
    for name in ("head", "pelvis", "joints", "rotmat", "shape"):
        assert torch.equal(getattr(again, name), getattr(truth, name)), name
    # The boxes' one arm and one leg have no other side: where they are in the mirror is not known.
    assert again.joint_known is not None and truth.joint_known is not None
    assert torch.equal(again.joint_known, truth.joint_known & torch.tensor([True, True, True, False, False]))
    cameras = made_cameras()
    torch.testing.assert_close(mirror_intrinsics(mirror_intrinsics(cameras, 84), 84), cameras)


def test_projections_move_to_the_other_side() -> None:
    cameras, width = made_cameras(), 84
    points = torch.randn(3, 10, 3) + torch.tensor([0.0, 0.0, 4.0])
    pixels = project(points, cameras)
    mirrored = project(mirror_points(points), mirror_intrinsics(cameras, width))
    torch.testing.assert_close(mirrored[..., 0], (width - 1) - pixels[..., 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mirrored[..., 1], pixels[..., 1])


def test_rotation_vectors_change_y_and_z() -> None:
    body = TinyBody()
    vectors = 0.5 * torch.randn(3, 5, 3)
    mirrored = rotation_vector(mirror_rotations(rotation_from_vector(vectors), body))
    torch.testing.assert_close(mirrored, vectors * torch.tensor([1.0, -1.0, -1.0]), atol=1e-5, rtol=1e-5)


def test_left_and_right_of_every_naming() -> None:
    names = tuple(SKELETON[i] for i in FREE)
    swapped = [names[i] for i in counterparts(names)]
    assert swapped[names.index("left_hip")] == "right_hip"
    assert swapped[names.index("right_thumb3")] == "left_thumb3"
    assert swapped[names.index("jaw")] == "jaw"
    assert sum(a != b for a, b in zip(swapped, names, strict=True)) == 46
    names = ("foot.L", "spine01", "foot.R", "collar", "finger1-2.L")
    assert counterparts(names) == (2, 1, 0, 3, 4)  # a missing other side leaves a name alone


@pytest.mark.slow
def test_a_mirrored_anny_is_the_mirror_image() -> None:
    body = load_body("anny")
    generator = torch.Generator().manual_seed(0)
    turns = rotation_from_vector(0.3 * torch.randn(2, body.n_rot, 3, generator=generator))
    rotmat, shape = rotation_from_6d(body.init_6d) @ turns, torch.randn(2, body.n_shape, generator=generator)
    _, joints = body(rotmat, shape)
    _, mirrored = body(mirror_rotations(rotmat, body), shape)
    expected = mirror_points(joints)[:, list(body.joint_counterparts)]
    # The template itself is symmetric to within 1.6 mm only.
    assert float((mirrored - expected).norm(dim=-1).max()) < 0.004
