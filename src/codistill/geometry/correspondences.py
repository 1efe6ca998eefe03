"""Ground-truth correspondences between two depth maps with poses, by reprojection with an occlusion test.

A pixel of view 1 is mapped to view 2 through its 3-D point. It is visible there if it falls inside the image, in front
of the camera, on a pixel whose known depth agrees with that of the point. A correspondence is reciprocal if the rounded
pixel in view 2 maps back to exactly the pixel it came from. Source: MASt3R (arXiv 2406.09756), section 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.geometry.poses import invert_pose, transform_points
from codistill.geometry.projection import depth_to_pointmap, project


@dataclass(frozen=True, kw_only=True)
class PosedDepth:
    """Depth map, intrinsics and pose of a view.

    Attributes:
        depth: (row, column), metres along z, 0 where unknown.
        intrinsics: (3, 3).
        world_to_camera: (4, 4).
    """

    depth: Float[Tensor, "row column"]
    intrinsics: Float[Tensor, "3 3"]
    world_to_camera: Float[Tensor, "4 4"]

    @property
    def known(self) -> Bool[Tensor, "row column"]:
        """Whether the depth is finite and positive."""
        return torch.isfinite(self.depth) & (self.depth > 0)

    def pointmap(self) -> Float[Tensor, "row column 3"]:
        """World points of all pixels; those of pixels with unknown depth are meaningless."""
        return depth_to_pointmap(self.depth, self.intrinsics, invert_pose(self.world_to_camera))


@dataclass(frozen=True)
class Reprojection:
    """Positions, in another view, of the pixels of a view or of given points.

    Attributes:
        pixels: (row, column, 2), floating-point (x, y) in the other view.
        visible: (row, column), whether the point is visible there, not occluded.
    """

    pixels: Float[Tensor, "*points 2"]
    visible: Bool[Tensor, "*points"]

    def nearest(self) -> Int[Tensor, "*points 2"]:
        """Rounded pixels in the other view; (-1, -1) where not visible."""
        rounded = self.pixels.nan_to_num(nan=-1.0, posinf=-1.0, neginf=-1.0).round().long()
        return torch.where(self.visible[..., None], rounded, -1)


def reproject(view: PosedDepth, other: PosedDepth, *, depth_tolerance: float = 0.05) -> Reprojection:
    """Map every pixel of `view` to `other`.

    Args:
        depth_tolerance: largest relative difference between the depth measured in `other` and that of the point; above
            it, the point counts as occluded. It allows for the slope of the surface within half a pixel.
    """
    points = transform_points(other.world_to_camera, view.pointmap())
    found = seen_at(points, other, depth_tolerance=depth_tolerance)
    return Reprojection(found.pixels, view.known & found.visible)


def seen_at(
    points: Float[Tensor, "*points 3"], other: PosedDepth, *, depth_tolerance: float = 0.05
) -> Reprojection:
    """Where a view sees given points of its own camera frame: pixels (*points, 2), visible (*points).

    Args:
        depth_tolerance: see `reproject`.
    """
    pixels = project(points, other.intrinsics)  # (*points, 2)
    rows, columns = other.depth.shape
    inside = points[..., 2] > 0  # in front
    inside &= ((pixels > -0.5) & (pixels < pixels.new_tensor([columns, rows]) - 0.5)).all(-1)
    x, y = torch.where(inside[..., None], pixels, 0.0).round().long().unbind(-1)
    seen = other.depth[y, x]  # (*points,); pixels outside read (0, 0)
    close = (seen - points[..., 2]).abs() <= depth_tolerance * points[..., 2]
    return Reprojection(pixels, inside & other.known[y, x] & close)


def reciprocal_correspondences(
    view1: PosedDepth, view2: PosedDepth, *, depth_tolerance: float = 0.05
) -> tuple[Int[Tensor, "match 2"], Int[Tensor, "match 2"]]:
    """All pixel pairs that correspond in both directions: (x, y) in view 1 and in view 2, in view 1's pixel order."""
    forth = reproject(view1, view2, depth_tolerance=depth_tolerance).nearest()
    back = reproject(view2, view1, depth_tolerance=depth_tolerance).nearest()
    y1, x1 = torch.nonzero(forth[..., 0] >= 0, as_tuple=True)  # (match,) each
    xy1, xy2 = torch.stack((x1, y1), dim=-1), forth[y1, x1]
    returns = (back[xy2[:, 1], xy2[:, 0]] == xy1).all(-1)
    return xy1[returns], xy2[returns]


def sample_correspondences(
    xy1: Int[Tensor, "match 2"],
    xy2: Int[Tensor, "match 2"],
    shape1: tuple[int, int],
    shape2: tuple[int, int],
    count: int,
    *,
    negatives: float = 0.5,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "count 2"], Int[Tensor, "count 2"], Bool[Tensor, " count"]]:
    """Draw a fixed number of correspondences for a matching loss: true ones first, then false ones.

    True ones are drawn without replacement, at most (1 - negatives) * count of them. The rest are random positions in
    both views, flagged as invalid; the loss uses them only as distractors.

    Args:
        xy1, xy2: all true correspondences, (x, y).
        shape1, shape2: (rows, columns) of the views.
        count: how many to return (8192 in the published recipe).
        negatives: smallest share of false ones.
        generator: random generator, on the CPU.

    Returns:
        Pixels (count, 2) in view 1, in view 2, and whether each pair is true.
    """
    true = min(len(xy1), round(count * (1.0 - negatives)))
    chosen = torch.randperm(len(xy1), generator=generator)[:true].to(xy1.device)
    false1, false2 = (
        torch.stack(
            [torch.randint(side, (count - true,), generator=generator) for side in reversed(shape)], dim=-1
        ).to(xy1.device)
        for shape in (shape1, shape2)
    )
    valid = torch.arange(count, device=xy1.device) < true
    return torch.cat((xy1[chosen], false1)), torch.cat((xy2[chosen], false2)), valid
