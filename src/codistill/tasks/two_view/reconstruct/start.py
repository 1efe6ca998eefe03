"""Make a first guess of cameras and depth: place one image after the other along a spanning tree of confident pairs.

Takes edges, gives a `Start`: focal lengths from the pointmaps, poses by PnP on the placed points, depth along z.
Source: DUSt3R (arXiv 2312.14132), section 3.4, and the published initialization by a minimum spanning tree.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codistill.errors import DataError
from codistill.geometry.pnp import pose_from_points_and_pixels
from codistill.geometry.poses import invert_pose, transform_points
from codistill.geometry.procrustes import Similarity, procrustes
from codistill.geometry.projection import pixel_grid
from codistill.geometry.robust import RobustConfig
from codistill.tasks.two_view.reconstruct.edges import Edge, Graph, fitted_focal, fitted_intrinsics
from codistill.tasks.two_view.reconstruct.images import SourceImage

MIN_DEPTH = 1e-3
_PNP_POINTS = 3000


@dataclass(frozen=True)
class Start:
    """The first guess for the alignment, per image, in pixels of the network's image.

    Attributes:
        focals: focal lengths in pixels of the fitted images.
        camera_to_world: (4, 4) each.
        depths: (row, column) each, along z.
        edges: per edge of the graph, the similarity from its first camera's frame to the world.
    """

    focals: list[float]
    camera_to_world: list[Tensor]
    depths: list[Tensor]
    edges: list[Similarity]


def spanning_tree(edges: tuple[Edge, ...], count: int) -> list[Edge]:
    """The edges with the largest scores that connect all images; each new edge has one image already placed (Prim)."""
    best = max(edges, key=lambda edge: edge.score)
    placed, tree = {best.first, best.second}, [best]
    while len(placed) < count:
        border = [e for e in edges if (e.first in placed) != (e.second in placed)]
        if not border:
            break
        edge = max(border, key=lambda e: e.score)
        placed |= {edge.first, edge.second}
        tree.append(edge)
    return tree


def first_guess(graph: Graph, images: list[SourceImage], robust: RobustConfig | None = None) -> Start:
    """Place every image in the world.

    Args:
        graph: a connected graph.
        images: pictures, some with known focal lengths.
        robust: config of PnP.

    Raises:
        DataError: if an image has no known focal length and its points give none.
    """
    count = len(images)
    world = _placed_points(spanning_tree(graph.edges, count), count)
    focals, poses, depths = [], [], []
    for number, image in enumerate(images):
        own = max((e for e in graph.edges if e.first == number), key=lambda edge: edge.score)
        fit = graph.fits[number]
        focal = fitted_focal(own.points[0], fit, image.focal)
        if not math.isfinite(focal):
            raise DataError(
                f"{image.path}: its predicted points lie on one ray and give no focal length. Give it with --focal, or "
                "leave the image out."
            )
        pose = _camera(
            world[number], own.confidence[0], fitted_intrinsics(fit, focal), robust or RobustConfig()
        )
        depth = transform_points(invert_pose(pose), world[number])[..., 2]
        usable = depth > MIN_DEPTH
        middle = depth[usable].median() if usable.any() else depth.new_tensor(1.0)
        focals.append(focal)
        poses.append(pose)
        depths.append(torch.where(usable, depth, middle))
    similarities = [_fitted_to(edge, world) for edge in graph.edges]
    return Start(focals, poses, depths, similarities)


def _placed_points(tree: list[Edge], count: int) -> list[Tensor]:
    """World points of every image, (row, column, 3); the world is the frame of the first edge's first camera."""
    world: list[Tensor | None] = [None] * count
    root = tree[0]
    world[root.first], world[root.second] = root.points
    for edge in tree[1:]:
        known = 0 if world[edge.first] is not None else 1
        placed = world[(edge.first, edge.second)[known]]
        assert placed is not None
        move = procrustes(
            edge.points[known].flatten(0, 1),
            placed.flatten(0, 1),
            edge.confidence[known].flatten(),
            scale=True,
        )
        other = edge.points[1 - known]
        world[(edge.first, edge.second)[1 - known]] = move.apply(other.flatten(0, 1)).view_as(other)
    return [points for points in world if points is not None]


def _camera(points: Tensor, confidence: Tensor, intrinsics: Tensor, robust: RobustConfig) -> Tensor:
    """Camera-to-world pose (4, 4) from an image's world points."""
    rows, columns, _ = points.shape
    flat, grid = points.flatten(0, 1), pixel_grid(rows, columns).flatten(0, 1)
    ranked = confidence.flatten().argsort(descending=True)[: max(4, rows * columns // 2)]
    chosen = ranked[:: max(1, len(ranked) // _PNP_POINTS)]
    found = pose_from_points_and_pixels(
        flat[chosen].double().numpy(),
        grid[chosen].double().numpy(),
        intrinsics.double().numpy(),
        threshold=max(2.0, 0.01 * float(np.hypot(rows, columns))),
        solver=robust.pnp,
        **robust.draws,
    )
    if found is None:
        return torch.eye(4)
    return invert_pose(torch.from_numpy(found.matrix()).float())


def _fitted_to(edge: Edge, world: list[Tensor]) -> Similarity:
    """The similarity from an edge's frame to the world that fits both of its views best."""
    source = torch.cat([points.flatten(0, 1) for points in edge.points])
    target = torch.cat([world[number].flatten(0, 1) for number in (edge.first, edge.second)])
    weights = torch.cat([confidence.flatten() for confidence in edge.confidence])
    return procrustes(source, target, weights, scale=True)
