"""Projection against OpenCV, and there and back."""

import cv2
import numpy as np
import torch

from codistill.geometry.poses import invert_pose, pose_matrix, quaternion_to_matrix, transform_points
from codistill.geometry.projection import depth_to_pointmap, pixel_grid, project, unproject

K = torch.tensor([[590.0, 0, 270], [0, 585, 360], [0, 0, 1]], dtype=torch.float64)


def a_pose(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    quaternion = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64) + 0.2 * torch.randn(
        4, generator=generator, dtype=torch.float64
    )
    return pose_matrix(
        quaternion_to_matrix(quaternion), torch.randn(3, generator=generator, dtype=torch.float64)
    )


def test_projection_agrees_with_opencv() -> None:
    points = torch.randn(100, 3, dtype=torch.float64) + torch.tensor([0, 0, 6.0], dtype=torch.float64)
    pose = a_pose()
    turn = cv2.Rodrigues(pose[:3, :3].numpy())[0]
    expected = cv2.projectPoints(points.numpy(), turn, pose[:3, 3].numpy(), K.numpy(), None)[0][:, 0]
    np.testing.assert_allclose(project(transform_points(pose, points), K).numpy(), expected, rtol=1e-10)


def test_unprojection_undoes_projection_even_with_skew() -> None:
    skewed = K.clone()
    skewed[0, 1] = 7.0
    points = torch.rand(2, 5, 7, 3, dtype=torch.float64) + 1
    back = unproject(project(points, skewed), points[..., 2], skewed.expand(2, 3, 3))
    torch.testing.assert_close(back, points)


def test_a_pointmap_projects_to_its_own_pixels() -> None:
    depth = torch.rand(2, 6, 9, dtype=torch.float64) + 0.5
    camera_to_world = torch.stack((a_pose(1), a_pose(2)))
    world = depth_to_pointmap(depth, K.expand(2, 3, 3), camera_to_world)
    camera = transform_points(invert_pose(camera_to_world), world)
    torch.testing.assert_close(camera[..., 2], depth)
    torch.testing.assert_close(project(camera, K), pixel_grid(6, 9, dtype=torch.float64).expand(2, 6, 9, 2))
    unposed = depth_to_pointmap(depth[0], K)
    torch.testing.assert_close(transform_points(camera_to_world[0], unposed), world[0])


def test_gradients() -> None:
    points = (torch.rand(4, 3, dtype=torch.float64) + 1).requires_grad_()
    depth = (torch.rand(3, 4, dtype=torch.float64) + 1).requires_grad_()
    intrinsics = K.clone().requires_grad_()
    assert torch.autograd.gradcheck(project, (points, intrinsics))
    assert torch.autograd.gradcheck(depth_to_pointmap, (depth, intrinsics, a_pose()))
