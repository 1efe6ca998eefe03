"""Global alignment: find the depth map, pose and focal length per image that best agree with the pairs' pointmaps.

Gradient descent minimizes the mean over edges, views and pixels of log(confidence) |chi - sigma P X|. Here chi are the
world points from an image's own depth, pose and focal length, and (sigma, P) is the similarity that maps an edge's
points X to the world; the scales of all edges have product 1. A few thousand pixels per image take part. Afterwards the
depth of every pixel is solved separately, with cameras and edges fixed. Source: DUSt3R (arXiv 2312.14132), equation 5,
with the published optimizer (Adam, betas 0.9 and 0.9, rate 0.01, 300 steps, cosine).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from codistill.errors import ConfigError, check_least
from codistill.geometry.poses import (
    invert_pose,
    matrix_to_quaternion,
    pose_matrix,
    quaternion_to_matrix,
    transform_points,
)
from codistill.geometry.projection import pixel_grid
from codistill.tasks.two_view.reconstruct.edges import Graph, fitted_intrinsics
from codistill.tasks.two_view.reconstruct.start import MIN_DEPTH, Start

_FOCAL_BREAK = 20.0
"""Factor by which focal lengths change more slowly than all other variables."""
_DEPTH_ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How views are aligned.

    Attributes:
        iterations: steps of the optimizer; 0: keep the first guess.
        lr: peak learning rate of Adam.
        pixels: approximate number of pixels per image that take part.
    """

    iterations: int = 300
    lr: float = 0.01
    pixels: int = 6000

    def __post_init__(self) -> None:
        check_least(self, "iterations", least=0)
        check_least(self, "pixels", least=16)
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr must be above 0; got {self.lr}")


@dataclass(frozen=True)
class Aligned:
    """The aligned cameras and depths, per image, in pixels of the network's image.

    Attributes:
        focals, camera_to_world, depths: as in `Start`.
        losses: loss of every step.
    """

    focals: list[float]
    camera_to_world: list[Tensor]
    depths: list[Tensor]
    losses: list[float]


@dataclass(frozen=True)
class _Problem:
    """Subsampled pixels of all images, padded to one length; axis `view` is the first or second image of an edge.

    Attributes:
        pixels: (image, pixel, 2), relative to the principal point.
        depth: (image, pixel), first guess.
        images: (edge, view) image numbers. points: (edge, view, pixel, 3). weights: (edge, view, pixel), 0 for padding;
            they sum to 1 over the pixels of a view before they are multiplied by the log confidence.
    """

    pixels: Tensor
    depth: Tensor
    images: Tensor
    points: Tensor
    weights: Tensor


def align(graph: Graph, start: Start, known_focals: list[bool], config: AlignConfig) -> Aligned:
    """Improve a first guess by global alignment.

    Args:
        graph: predictions of all pairs.
        start: the first guess.
        known_focals: per image, whether its focal length is known and kept fixed.
    """
    if config.iterations == 0:
        return Aligned(start.focals, start.camera_to_world, start.depths, [])
    steps = [_stride(depth.shape, config.pixels) for depth in start.depths]
    problem = _problem(graph, start, steps)
    scene = _Variables(start, problem.depth)
    free = torch.tensor([not known for known in known_focals])
    optimizer = torch.optim.Adam(scene.parameters(), lr=config.lr, betas=(0.9, 0.9))
    losses = []
    for step in range(config.iterations):
        rate = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.iterations))
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        optimizer.zero_grad()
        loss = _loss(problem, scene)
        loss.backward()
        assert scene.focal.grad is not None
        scene.focal.grad *= free  # known focal lengths stay fixed
        optimizer.step()
        losses.append(loss.detach())
    with torch.no_grad():
        return _finished(graph, scene, start, [float(value) for value in losses])


class _Variables(nn.Module):
    """The optimized variables: depth, pose and focal length per image; a similarity per edge, with mean log scale 0.

    Args:
        start: the first guess; its world is divided by the edges' mean scale, so that metric edges stay metric.
        depth: (image, pixel), first guess at the subsampled pixels.
    """

    def __init__(self, start: Start, depth: Tensor) -> None:
        super().__init__()
        poses = torch.stack(start.camera_to_world).float()
        logs = torch.stack([edge.scale for edge in start.edges]).float().clamp(min=1e-6).log()
        self.unit = float(logs.mean().exp())
        turns = torch.stack([edge.rotation for edge in start.edges]).float()
        shifts = torch.stack([edge.translation for edge in start.edges]).float()
        self.turn = nn.Parameter(matrix_to_quaternion(poses[:, :3, :3]))
        self.shift = nn.Parameter(poses[:, :3, 3] / self.unit)
        self.focal = nn.Parameter(_FOCAL_BREAK * torch.tensor(start.focals).log())
        self.depth = nn.Parameter((depth / self.unit).log())  # (image, pixel), positive by exp
        self.edge_turn = nn.Parameter(matrix_to_quaternion(turns))
        self.edge_shift = nn.Parameter(shifts / self.unit)
        self.edge_scale = nn.Parameter(logs)

    def focals(self) -> Tensor:
        """Focal lengths (image,), pixels."""
        return (self.focal / _FOCAL_BREAK).exp()  # positive by exp; the factor slows its steps

    def poses(self) -> Tensor:
        """Camera-to-world poses (image, 4, 4)."""
        return pose_matrix(quaternion_to_matrix(self.turn), self.shift)

    def world(self, pixels: Tensor) -> Tensor:
        """World points (image, pixel, 3) from the images' own depth."""
        depth = self.depth.exp()[..., None]
        points = torch.cat((pixels / self.focals()[:, None, None] * depth, depth), dim=-1)  # in the camera
        return transform_points(self.poses(), points)

    def moved(self, points: Tensor) -> Tensor:
        """World points (edge, view, pixel, 3) of the edges."""
        # The scales have product 1, so that shrinking everything to a point is not a solution.
        scale = (self.edge_scale - self.edge_scale.mean()).exp()
        pose = pose_matrix(quaternion_to_matrix(self.edge_turn), self.edge_shift)  # (edge, 4, 4)
        return transform_points(pose, points * scale[:, None, None, None])


def _loss(problem: _Problem, scene: _Variables) -> Tensor:
    distance = (scene.world(problem.pixels)[problem.images] - scene.moved(problem.points)).norm(dim=-1)
    return (problem.weights * distance).sum((1, 2)).mean()  # (edge, view, pixel) to a mean over edges


def _stride(shape: torch.Size, pixels: int) -> int:
    return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / pixels)))


def _problem(graph: Graph, start: Start, steps: list[int]) -> _Problem:
    thinned = [depth[::step, ::step] for depth, step in zip(start.depths, steps, strict=True)]  # per image
    longest = max(depth.numel() for depth in thinned)
    grids = []
    for fit, depth, step in zip(graph.fits, start.depths, steps, strict=True):
        grid = pixel_grid(depth.shape[0], depth.shape[1])[::step, ::step] - fitted_intrinsics(fit, 1.0)[:2, 2]
        grids.append(_padded(grid, longest))  # (pixel, 2)
    points, weights = [], []
    for edge in graph.edges:
        numbers = (edge.first, edge.second)
        cut = [slice(None, None, steps[number]) for number in numbers]
        points.append(torch.stack([_padded(p[c, c], longest) for p, c in zip(edge.points, cut, strict=True)]))
        sure = [w[c, c].clamp(min=1.0 + 1e-3).log() for w, c in zip(edge.confidence, cut, strict=True)]  # > 0
        weights.append(torch.stack([_padded(w[..., None] / w.numel(), longest)[:, 0] for w in sure]))
    return _Problem(
        pixels=torch.stack(grids),
        depth=torch.stack([_padded(depth[..., None], longest, 1.0)[:, 0] for depth in thinned]),
        images=torch.tensor([(edge.first, edge.second) for edge in graph.edges]),
        points=torch.stack(points),
        weights=torch.stack(weights),
    )


def _padded(values: Tensor, length: int, fill: float = 0.0) -> Tensor:
    """Flatten (row, column, channel) and pad it to (length, channel)."""
    flat = values.flatten(0, 1)
    return pad(flat, (0, 0, 0, length - len(flat)), value=fill)


def _finished(graph: Graph, scene: _Variables, start: Start, losses: list[float]) -> Aligned:
    """The optimized cameras, and depth solved at all pixels with cameras, focal lengths and edges fixed."""
    scales = (scene.edge_scale - scene.edge_scale.mean()).exp()
    edges = pose_matrix(quaternion_to_matrix(scene.edge_turn), scene.edge_shift)
    focals, poses = scene.focals(), scene.poses()
    depths = []
    for number, (fit, first) in enumerate(zip(graph.fits, start.depths, strict=True)):
        grid = pixel_grid(first.shape[0], first.shape[1]) - fitted_intrinsics(fit, 1.0)[:2, 2]
        rays = torch.cat((grid / focals[number], torch.ones_like(grid[..., :1])), dim=-1)
        to_camera = invert_pose(poses[number])  # (4, 4)
        seen, weights = [], []
        for edge, pose, scale in zip(graph.edges, edges, scales, strict=True):
            for view, image in enumerate((edge.first, edge.second)):
                if image == number:
                    seen.append(transform_points(to_camera @ pose, edge.points[view] * scale))
                    weights.append(edge.confidence[view].clamp(min=1.0 + 1e-3).log())
        depths.append(depth_along(rays, seen, weights).clamp(min=MIN_DEPTH))
    return Aligned(focals.tolist(), list(poses.detach()), depths, losses)


def depth_along(rays: Tensor, points: list[Tensor], weights: list[Tensor]) -> Tensor:
    """The depth z (row, column) at which z times a pixel's ray is closest to its predicted points.

    Minimizes the weighted sum of unsquared distances per pixel (Weiszfeld), which is robust to a minority of outliers.

    Args:
        rays: (row, column, 3) with z = 1.
        points: predictions of every pixel's point, (row, column, 3) each, in the camera's frame.
        weights: positive weights of the predictions, (row, column) each.
    """
    square = rays.square().sum(-1)  # (row, column) |ray|^2
    along = torch.stack([(rays * x).sum(-1) / square for x in points])  # (point, row, column) z of the foot
    aside = torch.stack([x.square().sum(-1) for x in points]) - square * along.square()
    weight = torch.stack(weights)  # (point, row, column)
    depth = (weight * along).sum(0) / weight.sum(0)  # least squares to start from
    for _ in range(_DEPTH_ROUNDS if len(points) > 1 else 0):
        distance = (square * (depth - along).square() + aside.clamp(min=0.0)).sqrt()
        # The floor is relative to the depth, so that a point exactly on the ray does not get an infinite weight.
        pull = weight / distance.clamp(min=1e-4 * depth.abs().clamp(min=MIN_DEPTH))
        depth = (pull * along).sum(0) / pull.sum(0)
    return depth
