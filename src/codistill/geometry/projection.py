"""Convert between pixels and points: projection, unprojection, pointmaps from depth."""

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.geometry.poses import per_point, transform_points

Intrinsics = Float[Tensor, "... 3 3"]


def pixel_grid(
    rows: int, columns: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "row column 2"]:
    """Coordinates (x, y) of every pixel centre, (row, column, 2): integers, in floating point."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=device, dtype=dtype),
        torch.arange(columns, device=device, dtype=dtype),
        indexing="ij",
    )
    return torch.stack((x, y), dim=-1)


def project(points: Float[Tensor, "*points 3"], intrinsics: Intrinsics) -> Float[Tensor, "*points 2"]:
    """Project points of the camera frame to pixels (x, y).

    Points behind the camera are projected mirrored, and points at z = 0 become infinite: mask by z > 0 where that
    matters.

    Args:
        points: (*batch, ..., 3).
        intrinsics: (3, 3) or (*batch, 3, 3).
    """
    homogeneous = (per_point(intrinsics, points) * points[..., None, :]).sum(-1)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def unproject(
    pixels: Float[Tensor, "*points 2"], depth: Float[Tensor, "*points"], intrinsics: Intrinsics
) -> Float[Tensor, "*points 3"]:
    """Points in the camera frame, at depth z, of pixels (x, y).

    Args:
        pixels: (*batch, ..., 2).
        depth: (*batch, ...), metres along z, not along the ray.
        intrinsics: (3, 3) or (*batch, 3, 3), with or without skew.
    """
    k = per_point(intrinsics, depth[..., None])
    y = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (pixels[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    return torch.stack((x * depth, y * depth, depth), dim=-1)


def depth_to_pointmap(
    depth: Float[Tensor, "*batch row column"],
    intrinsics: Intrinsics,
    camera_to_world: Float[Tensor, "... 4 4"] | None = None,
) -> Float[Tensor, "*batch row column 3"]:
    """Pointmap from a depth map, in the camera frame, or in the world frame if the pose is given.

    Pixels of unknown depth (0) all lie at the camera centre; the caller's mask says which are known.
    """
    grid = pixel_grid(depth.shape[-2], depth.shape[-1], depth.device, depth.dtype)
    points = unproject(grid.expand(*depth.shape, 2), depth, intrinsics)
    return points if camera_to_world is None else transform_points(camera_to_world, points)
