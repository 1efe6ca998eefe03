"""Pictures for the demo page: all answers of one encoder's heads, features of several encoders, a point cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from codistill.analysis.colours import colour_columns
from codistill.encoders.base import Encoder
from codistill.encoders.preprocess import ImageLike
from codistill.perception.perception import Perception
from codistill.perception.scene import FEATURES, IMAGE
from codistill.tasks.two_view.sight import TwoViewAnswer

LONGEST = 560
"""Pixels of a picture's longer side on the page."""

POINTS = 16_000


@dataclass(frozen=True)
class Seen:
    """One image with all answers of one pass.

    Attributes:
        title: description of the image.
        views: (row, column, 3) uint8 by name; `image` first, then `features`, then the heads.
        said: a line of text for each head.
        seconds: seconds by stage: `encode` and each head.
    """

    title: str
    views: Mapping[str, UInt8[np.ndarray, "row column 3"]]
    said: Mapping[str, str]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Cloud:
    """A coloured point cloud, and the two pictures from which it was reconstructed.

    Attributes:
        points: (point, 3), metres, x right, y down, z forward.
        colours: (point, 3) uint8.
        pair: the two images.
        said: a line of text about the reconstruction.
    """

    points: Float[np.ndarray, "point 3"]
    colours: UInt8[np.ndarray, "point 3"]
    pair: tuple[np.ndarray, np.ndarray]
    said: str


@dataclass(frozen=True)
class FeatureSheet:
    """Features as colours, with a row for every image and a column for every encoder.

    Attributes:
        names: names of the columns; the first is the image itself.
        rows: for each image, its pictures (row, column, 3) uint8.
    """

    names: tuple[str, ...]
    rows: list[list[np.ndarray]] = field(default_factory=list)


def see_everything(perception: Perception, image: ImageLike, title: str) -> Seen:
    """Run the encoder once on an image; returns the answers of all heads for single images.

    Raises:
        DataError: if the image cannot be used.
    """
    wanted = [name for name in perception.heads if not perception.together(name)]
    perception(image, want=wanted)  # a first call, whose one-time costs must not be measured
    scene = perception(image, want=wanted)
    seconds = {stage: scene.seconds[stage] for stage in ("encode", *wanted)}
    views = {name: _sized(scene.draw(name)) for name in (IMAGE, FEATURES, *wanted)}
    return Seen(title, views, {name: scene.answer(name).text() for name in wanted}, seconds)


def reconstruct_pair(perception: Perception, first: ImageLike, second: ImageLike) -> Cloud | None:
    """Reconstruct points from two images of one place, at the size of the head's fit; None without a two-view head.

    Raises:
        DataError: if an image cannot be used.
    """
    names = [name for name in perception.heads if perception.together(name)]
    if len(names) != 1:
        return None
    scene = perception([first, second], size=perception.heads[names[0]].size)
    answer = scene.answer(names[0])
    assert isinstance(answer, TwoViewAnswer)
    points, colours = answer.scene.points, answer.scene.colours
    chosen = np.random.default_rng(0).permutation(len(points))[:POINTS]
    pair = _sized(scene.images[0], 320), _sized(scene.images[1], 320)
    return Cloud(points[chosen], colours[chosen], pair, answer.text())


@torch.inference_mode()
def features_beside(
    encoders: Mapping[str, Encoder], images: Sequence[np.ndarray], *, size: int
) -> FeatureSheet:
    """Draw the first three principal components of each encoder's patches: one basis per encoder, with aligned axes.

    Args:
        encoders: encoders by the name of their column.
        images: (row, column, 3) uint8, square.
        size: size in pixels to which images are resized, rounded down to whole patches.
    """
    columns = []
    for encoder in encoders.values():
        patch = encoder.spec.patch_size
        columns.append([encoder(encoder.preprocess(image, size // patch * patch)) for image in images])
    coloured = colour_columns(columns, separate=False, shared_basis=False)
    sheet = FeatureSheet(("image", *encoders))
    for number, image in enumerate(images):
        cells = [_sized(image, 224)]
        for column in coloured:
            tiles = (np.asarray(column[number]) * 255 + 0.5).astype(np.uint8)
            cells.append(cv2.resize(tiles, cells[0].shape[1::-1], interpolation=cv2.INTER_NEAREST))
        sheet.rows.append(cells)
    return sheet


def _sized(picture: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    scale = longest / max(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=method)
