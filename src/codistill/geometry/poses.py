"""Rigid poses and rotations: quaternions (w, x, y, z), 4x4 matrices, composition, angles.

No matrix product here uses autocast or TF32. Points are transformed by explicit sums, because metrics measure pose
errors as small as 1e-3.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Pose = Float[Tensor, "*batch 4 4"]
Rotation = Float[Tensor, "*batch 3 3"]
Quaternion = Float[Tensor, "*batch 4"]


def quaternion_to_matrix(quaternion: Quaternion) -> Rotation:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) in the order w, x, y, z, of any non-zero norm."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_quaternion(rotation: Rotation) -> Quaternion:
    """Unit quaternions (..., 4), w >= 0, of rotation matrices (..., 3, 3).

    There are four formulas for a quaternion, each of which divides by another component. The one that divides by the
    largest component is taken, so that no rotation is near a singularity.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    squares = torch.stack((1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i), dim=-1)
    candidates = torch.stack(
        (
            torch.stack((squares[..., 0], h - f, c - g, d - b), dim=-1),
            torch.stack((h - f, squares[..., 1], b + d, c + g), dim=-1),
            torch.stack((c - g, b + d, squares[..., 2], f + h), dim=-1),
            torch.stack((d - b, c + g, f + h, squares[..., 3]), dim=-1),
        ),
        dim=-2,
    )
    # `squares` is 4 (w², x², y², z²); the rows of `candidates` are the quaternion times 4 w, 4 x, 4 y and 4 z.
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)  # (..., 1, 4)
    quaternion = candidates.gather(-2, best).squeeze(-2)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_multiply(left: Quaternion, right: Quaternion) -> Quaternion:
    """Hamilton product of (..., 4) quaternions: first the rotation `right`, then `left`."""
    w1, x1, y1, z1 = left.unbind(-1)
    w2, x2, y2, z2 = right.unbind(-1)
    return torch.stack(
        (
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ),
        dim=-1,
    )


def quaternion_conjugate(quaternion: Quaternion) -> Quaternion:
    """The inverse rotation of unit quaternions (..., 4)."""
    return quaternion * quaternion.new_tensor([1.0, -1.0, -1.0, -1.0])


def pose_matrix(rotation: Rotation, translation: Float[Tensor, "*batch 3"]) -> Pose:
    """The (..., 4, 4) pose x -> rotation x + translation."""
    top = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])  # (..., 1, 4)
    bottom[..., 0, 3] = 1.0
    return torch.cat((top, bottom), dim=-2)


def invert_pose(pose: Pose) -> Pose:
    """Invert rigid (..., 4, 4) poses, in closed form."""
    rotation = pose[..., :3, :3].transpose(-2, -1)
    return pose_matrix(rotation, -(rotation * pose[..., None, :3, 3]).sum(-1))


def compose_poses(after: Pose, before: Pose) -> Pose:
    """`after` @ `before` for (..., 4, 4) poses, in the inputs' precision even under autocast."""
    return (after[..., :, :, None] * before[..., None, :, :]).sum(-2)


def relative_pose(world_to_camera_a: Pose, world_to_camera_b: Pose) -> Pose:
    """`pose_b_from_a`: maps coordinates in camera a's frame to camera b's, from two world-to-camera poses."""
    return compose_poses(world_to_camera_b, invert_pose(world_to_camera_a))


def transform_points(pose: Pose, points: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
    """Apply rigid poses to points.

    Args:
        pose: (4, 4), or (*batch, 4, 4) where *batch are the leading dimensions of `points`.
        points: (*batch, ..., 3): point sets or pointmaps.
    """
    pose = per_point(pose, points)
    x, y, z = points[..., :1], points[..., 1:2], points[..., 2:]  # a product per column needs no (..., 3, 3)
    return pose[..., :3, 0] * x + pose[..., :3, 1] * y + pose[..., :3, 2] * z + pose[..., :3, 3]


def per_point(matrix: Tensor, points: Tensor) -> Tensor:
    """Add singleton dimensions to matrices (*batch, k, k), so that they broadcast over points (*batch, ..., c)."""
    extra = points.ndim - 1 - (matrix.ndim - 2)
    if extra < 0:
        raise ValueError(
            f"matrices {tuple(matrix.shape)} have more batch dimensions than points {tuple(points.shape)}"
        )
    return matrix.reshape(*matrix.shape[:-2], *[1] * extra, *matrix.shape[-2:])


def rotation_angle(rotation: Rotation) -> Float[Tensor, "*batch"]:
    """Angle of rotation matrices, radians in [0, pi], accurate at both ends (unlike the arc cosine)."""
    r = rotation
    twice_sine = torch.stack(
        (r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]), dim=-1
    ).norm(dim=-1)
    twice_cosine = r.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0  # trace = 1 + 2 cos
    return torch.atan2(twice_sine, twice_cosine)
