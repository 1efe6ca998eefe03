"""Quaternions and poses against scipy; angles at both ends; gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from codistill.geometry.poses import (
    compose_poses,
    invert_pose,
    matrix_to_quaternion,
    pose_matrix,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_matrix,
    relative_pose,
    rotation_angle,
    transform_points,
)


def random_rotations(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Quaternions (w, x, y, z) and matrices from scipy."""
    turn = Rotation.random(count, random_state=seed)
    xyzw = torch.from_numpy(turn.as_quat())
    return torch.cat((xyzw[:, 3:], xyzw[:, :3]), dim=1), torch.from_numpy(turn.as_matrix())


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    shift = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return pose_matrix(random_rotations(count, seed)[1], shift)


def test_quaternions_agree_with_scipy_both_ways() -> None:
    quaternion, matrix = random_rotations(200)
    torch.testing.assert_close(quaternion_to_matrix(3.7 * quaternion), matrix)
    back = matrix_to_quaternion(matrix)
    assert (back[:, 0] >= 0).all()
    torch.testing.assert_close(back * quaternion[:, :1].sign(), quaternion)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 2, 2)])
def test_half_turns_are_no_singularity(axis: tuple[int, int, int]) -> None:
    vector = np.array(axis) / np.linalg.norm(axis)
    matrix = torch.from_numpy(Rotation.from_rotvec(math.pi * vector).as_matrix()).requires_grad_()
    quaternion = matrix_to_quaternion(matrix)
    torch.testing.assert_close(quaternion_to_matrix(quaternion), matrix)
    quaternion.sum().backward()
    assert matrix.grad is not None and torch.isfinite(matrix.grad).all()
    assert float(rotation_angle(matrix.detach())) == pytest.approx(math.pi, abs=1e-12)


def test_multiplication_is_composition_and_the_conjugate_undoes_it() -> None:
    q1, r1 = random_rotations(50, 1)
    q2, r2 = random_rotations(50, 2)
    torch.testing.assert_close(quaternion_to_matrix(quaternion_multiply(q1, q2)), r1 @ r2)
    unit = quaternion_multiply(q1, quaternion_conjugate(q1))
    torch.testing.assert_close(unit, torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(50, 4))


def test_relative_pose_carries_points_from_camera_to_camera() -> None:
    world_to_a, world_to_b = random_poses(8, 3), random_poses(8, 4)
    points = torch.randn(8, 5, 6, 3, dtype=torch.float64)
    in_a, in_b = transform_points(world_to_a, points), transform_points(world_to_b, points)
    torch.testing.assert_close(transform_points(relative_pose(world_to_a, world_to_b), in_a), in_b)
    torch.testing.assert_close(invert_pose(world_to_a), torch.linalg.inv(world_to_a))
    torch.testing.assert_close(compose_poses(world_to_b, world_to_a), world_to_b @ world_to_a)


def test_points_may_not_have_fewer_batch_dimensions_than_poses() -> None:
    with pytest.raises(ValueError, match="more batch dimensions"):
        transform_points(random_poses(4).reshape(2, 2, 4, 4), torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("degrees", [1e-6, 0.5, 90.0, 179.999])
def test_small_and_large_angles_are_exact(degrees: float) -> None:
    axis = np.array([2.0, -1.0, 0.5]) / np.linalg.norm([2.0, -1.0, 0.5])
    matrix = torch.from_numpy(Rotation.from_rotvec(math.radians(degrees) * axis).as_matrix())
    assert math.degrees(float(rotation_angle(matrix))) == pytest.approx(degrees, rel=1e-9)


def test_gradients() -> None:
    quaternion, matrix = random_rotations(3, 5)
    poses, points = (
        random_poses(3, 6).requires_grad_(),
        torch.randn(3, 4, 3, dtype=torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(quaternion_to_matrix, (quaternion.requires_grad_(),))
    assert torch.autograd.gradcheck(rotation_angle, (matrix.requires_grad_(),))
    assert torch.autograd.gradcheck(transform_points, (poses, points))
