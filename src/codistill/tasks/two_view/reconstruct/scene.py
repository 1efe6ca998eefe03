"""The reconstructed scene: cameras in the first one's frame, depth maps, and coloured points above a confidence."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codistill.errors import DataError
from codistill.geometry.poses import invert_pose
from codistill.geometry.projection import depth_to_pointmap
from codistill.imaging import resize_rgb
from codistill.tasks.two_view.reconstruct.align import Aligned
from codistill.tasks.two_view.reconstruct.edges import Graph, Link, best_confidence, fitted_intrinsics
from codistill.tasks.two_view.reconstruct.images import SourceImage

DROPPED = 0.2
"""Share of each image's pixels, the least confident ones, that are left out by default."""


@dataclass(frozen=True)
class Camera:
    """The camera of one image.

    Attributes:
        image: the picture.
        focal: focal length in pixels of the original image. known_focal: whether it was given rather than estimated.
        camera_to_world: (4, 4); the first camera is at the origin.
        intrinsics: (3, 3), of the fitted image.
        depth, confidence: (row, column), of the fitted image.
        colours: (row, column, 3) uint8, the fitted image.
    """

    image: SourceImage
    focal: float
    known_focal: bool
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    colours: np.ndarray

    def points(self) -> np.ndarray:
        """World points (row, column, 3)."""
        tensors = (torch.from_numpy(x).float() for x in (self.depth, self.intrinsics, self.camera_to_world))
        return depth_to_pointmap(*tensors).numpy()


@dataclass(frozen=True)
class Scene:
    """A reconstructed scene.

    Attributes:
        cameras: one camera per image, in the given order.
        points: (point, 3), in metres if the model is metric. colours: (point, 3) uint8.
        links: pairs of images with their matches.
        losses: losses of the alignment's steps.
    """

    cameras: tuple[Camera, ...]
    points: np.ndarray
    colours: np.ndarray
    links: tuple[Link, ...]
    losses: tuple[float, ...]

    def names(self) -> tuple[str, ...]:
        """A unique name for each image that starts with its number; a valid file name on any system, without blanks."""
        stems = [re.sub(r"[^A-Za-z0-9-]+", "_", c.image.path.stem).strip("_")[:40] for c in self.cameras]
        return tuple(
            f"{number:04d}{'_' if stem else ''}{stem}.png" for number, stem in enumerate(stems, start=1)
        )


def check_confidence(graph: Graph, count: int, least: float) -> None:
    """Refuse a minimum confidence that no point reaches, before images are aligned.

    Raises:
        DataError: if no point reaches it; the message states the largest confidence.
    """
    found = torch.cat([confidence.flatten() for confidence in best_confidence(graph, count)])
    if not bool((found >= least).any()):
        raise DataError(
            f"no point is left: a confidence of {least:g} is asked for (--min-confidence), and the largest of "
            f"{len(found)} pixels is {float(found.max()):.4g}, half of them have {float(found.median()):.4g}. Ask for "
            "less."
        )


def make_scene(
    graph: Graph, images: list[SourceImage], aligned: Aligned, *, min_confidence: float | None = None
) -> Scene:
    """Collect cameras and points of an alignment.

    Args:
        graph, images, aligned: results of the earlier steps.
        min_confidence: smallest confidence of points; None: drop the least confident fifth of each image.
    """
    to_first = invert_pose(aligned.camera_to_world[0])
    confidences = best_confidence(graph, len(images))
    cameras, points, colours = [], [], []
    for number, image in enumerate(images):
        camera = _camera(graph, image, aligned, number, to_first, confidences[number])
        least = float(np.quantile(camera.confidence, DROPPED)) if min_confidence is None else min_confidence
        kept = camera.confidence >= least
        cameras.append(camera)
        points.append(camera.points()[kept])
        colours.append(camera.colours[kept])
    return Scene(
        tuple(cameras), np.concatenate(points), np.concatenate(colours), graph.links, tuple(aligned.losses)
    )


def _camera(
    graph: Graph, image: SourceImage, aligned: Aligned, number: int, to_first: Tensor, confidence: Tensor
) -> Camera:
    fit, focal = graph.fits[number], aligned.focals[number]
    rows, columns = fit.cropped
    window = resize_rgb(image.pixels, fit.resized)[fit.top : fit.top + rows, fit.left : fit.left + columns]
    return Camera(
        image=image,
        focal=focal / fit.scale[0],
        known_focal=image.focal is not None,
        camera_to_world=(to_first @ aligned.camera_to_world[number]).double().numpy(),
        intrinsics=fitted_intrinsics(fit, focal).double().numpy(),
        depth=aligned.depths[number].numpy(),
        confidence=confidence.numpy(),
        colours=np.ascontiguousarray(window),
    )
