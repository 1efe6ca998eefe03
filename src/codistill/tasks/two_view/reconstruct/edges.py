"""Choose image pairs, predict them with the network, and check whether their matches agree with one pose.

An edge is a directed pair: the points of both of its views are in the first camera's frame. Every undirected pair gives
two edges, and each image is encoded once. Source: DUSt3R (arXiv 2312.14132), section 3.4, with its sliding window.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError, DataError
from codistill.geometry.cameras import ImageFit, camera_matrix
from codistill.geometry.focal import estimate_focal
from codistill.geometry.robust import RobustConfig
from codistill.heads.two_view.network import ViewPrediction
from codistill.tasks.two_view.decode import EncodedView, PairDecoder, PairMatches, PairPrediction
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.images import SourceImage

ENOUGH_MATCHES = 12
"""Matches that agree with one pose, from which two images count as overlapping."""


@dataclass(frozen=True)
class Edge:
    """A directed pair.

    Attributes:
        first, second: numbers of the two images.
        points: points of both views, (row, column, 3), in the first camera's frame.
        confidence: confidences of both views, (row, column).
    """

    first: int
    second: int
    points: tuple[Tensor, Tensor]
    confidence: tuple[Tensor, Tensor]

    @property
    def score(self) -> float:
        """Product of the mean confidences of both views."""
        return float(self.confidence[0].mean() * self.confidence[1].mean())


@dataclass(frozen=True)
class Link:
    """Matches of an undirected pair.

    Attributes:
        first, second: numbers of the two images.
        matches: the matches of the pair.
        inliers: number of matches that agree with one pose.
    """

    first: int
    second: int
    matches: PairMatches
    inliers: int


@dataclass(frozen=True)
class Graph:
    """Predictions of all chosen pairs.

    Attributes:
        edges: directed pairs, two per undirected pair. links: one per undirected pair.
        fits: how each image was resized and cropped.
    """

    edges: tuple[Edge, ...]
    links: tuple[Link, ...]
    fits: tuple[ImageFit, ...]


def choose_pairs(count: int, window: int | None = None) -> list[tuple[int, int]]:
    """All pairs of images, or those at most `window` apart in the given order.

    Raises:
        ConfigError: for a window below 1, or fewer than two images.
    """
    if count < 2:
        raise ConfigError(f"a reconstruction needs two images at least; got {count}")
    if window is not None and window < 1:
        raise ConfigError(f"the window must be 1 or more images; got {window}")
    reach = count if window is None else window
    return [(i, j) for i in range(count) for j in range(i + 1, min(count, i + reach + 1))]


def build_graph(
    predictor: TwoViewPredictor,
    images: list[SourceImage],
    pairs: list[tuple[int, int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
    robust: RobustConfig | None = None,
) -> Graph:
    """Encode every image once, and predict every pair.

    Args:
        predictor: the two-view model, on its device.
        images: images of any sizes.
        pairs, progress, robust: see `graph_of`.

    Raises:
        DataError: for an image that is too elongated for the network.
    """
    views = [_encoded(predictor, image) for image in images]
    return graph_of(predictor, images, views, pairs, progress, robust)


def _encoded(predictor: TwoViewPredictor, image: SourceImage) -> EncodedView:
    try:
        return predictor.encode(image.pixels)
    except DataError as error:
        raise DataError(f"{image.path}: {error}") from None


def graph_of(
    decoder: PairDecoder,
    images: list[SourceImage],
    views: list[EncodedView],
    pairs: list[tuple[int, int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
    robust: RobustConfig | None = None,
) -> Graph:
    """Predict every pair of encoded views.

    Args:
        decoder: the head, on its device.
        images: images of any sizes.
        views: the encoded images.
        pairs: from `choose_pairs`.
        progress: called with the number of pairs done and their total.
        robust: config of the poses that matches must agree with.
    """
    edges, links = [], []
    for done, (i, j) in enumerate(pairs, start=1):
        prediction = decoder.pair(views[i], views[j])
        edges += [_edge(i, j, prediction), _edge(j, i, prediction.swapped())]
        links.append(_link(decoder, prediction, i, j, (images[i], images[j]), robust))
        progress(done, len(pairs))
    return Graph(tuple(edges), tuple(links), tuple(view.fit for view in views))


def _edge(first: int, second: int, prediction: PairPrediction) -> Edge:
    views: tuple[ViewPrediction, ViewPrediction] = prediction.a, prediction.b_in_a
    return Edge(
        first,
        second,
        (views[0].points[0].float().cpu(), views[1].points[0].float().cpu()),
        (views[0].confidence[0].float().cpu(), views[1].confidence[0].float().cpu()),
    )


def _link(
    decoder: PairDecoder,
    prediction: PairPrediction,
    i: int,
    j: int,
    images: tuple[SourceImage, SourceImage],
    robust: RobustConfig | None,
) -> Link:
    matches = decoder.match(prediction)
    intrinsics = [
        original_intrinsics(image, fitted_focal(view.points[0], fit, image.focal) / fit.scale[0])
        for view, fit, image in (
            (prediction.a, prediction.fit_a, images[0]),
            (prediction.b, prediction.fit_b, images[1]),
        )
    ]
    pose = decoder.pose(prediction, *intrinsics, solver="pnp", robust=robust)
    return Link(i, j, matches, 0 if pose is None else int(pose.inliers.sum()))


def original_intrinsics(image: SourceImage, focal: float) -> np.ndarray:
    """Intrinsics (3, 3) of the original image, with the principal point at its centre."""
    rows, columns = image.size
    return camera_matrix(focal, ((columns - 1) / 2, (rows - 1) / 2)).double().numpy()


def fitted_intrinsics(fit: ImageFit, focal: float) -> Tensor:
    """Intrinsics (3, 3) of the fitted image; `focal` is in its pixels."""
    rows, columns = fit.original
    return fit.intrinsics(camera_matrix(focal / fit.scale[0], ((columns - 1) / 2, (rows - 1) / 2)))


def fitted_focal(points: Tensor, fit: ImageFit, known: float | None) -> float:
    """Focal length in pixels of the fitted image: the known one, or an estimate from a pointmap.

    The estimate is clamped between half of and four times the focal length of 60 degrees; NaN if there is none.
    """
    if known is not None:
        return known * fit.scale[0]
    center = fitted_intrinsics(fit, 1.0)[:2, 2]
    return float(estimate_focal(points[None].float(), center[None].to(points.device), clip=(0.5, 4.0))[0])


def unconnected(links: Sequence[Link], count: int, least: int = ENOUGH_MATCHES) -> list[int]:
    """Indices of the images that no chain of pairs with enough consistent matches connects to the largest group."""
    group = list(range(count))
    for link in links:
        if link.inliers >= least:
            old, new = group[link.second], group[link.first]
            group = [new if g == old else g for g in group]
    main = max(group, key=group.count)
    return [number for number, g in enumerate(group) if g != main]


def check_connected(graph: Graph, images: list[SourceImage], least: int) -> None:
    """Refuse images that are not connected to the others by a chain of pairs with enough consistent matches.

    Raises:
        DataError: if there are such images; the message names them, and the best count that was found.
    """
    apart = unconnected(graph.links, len(images), least)
    if apart:
        worst = apart[0]
        best = max((k.inliers for k in graph.links if worst in (k.first, k.second)), default=0)
        names = ", ".join(str(images[number].path) for number in apart)
        raise DataError(
            f"no overlap was found between {names} and the other images: at best {best} matches agree with one "
            f"pose, {least} are asked for. Give images that see the same place, add some in between, or lower "
            "--min-matches (0 accepts every pair)."
        )


def consistent_pairs(graph: Graph, least: int) -> Graph:
    """The graph without the edges of pairs that have fewer consistent matches."""
    few = {frozenset((link.first, link.second)) for link in graph.links if link.inliers < least}
    kept = (edge for edge in graph.edges if frozenset((edge.first, edge.second)) not in few)
    return replace(graph, edges=tuple(kept))


def best_confidence(graph: Graph, count: int) -> list[Tensor]:
    """Per image, the largest confidence of each pixel over all edges."""
    found: list[Tensor | None] = [None] * count
    for edge in graph.edges:
        for number, confidence in zip((edge.first, edge.second), edge.confidence, strict=True):
            current = found[number]
            found[number] = confidence if current is None else torch.maximum(current, confidence)
    return [confidence for confidence in found if confidence is not None]
