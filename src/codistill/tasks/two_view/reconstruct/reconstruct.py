"""Reconstruct a scene from pictures: predict pairs, make a first guess, align, fuse."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from codistill.errors import ConfigError, check_least
from codistill.geometry.robust import RobustConfig
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig, align
from codistill.tasks.two_view.reconstruct.edges import (
    ENOUGH_MATCHES,
    Graph,
    build_graph,
    check_connected,
    choose_pairs,
    consistent_pairs,
)
from codistill.tasks.two_view.reconstruct.images import SourceImage
from codistill.tasks.two_view.reconstruct.scene import Scene, check_confidence, make_scene
from codistill.tasks.two_view.reconstruct.start import first_guess


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """How a reconstruction is made.

    Attributes:
        window: two images form a pair if they are at most this far apart in the given order; None: all pairs.
        min_matches: number of consistent matches from which a pair counts as overlapping; others have no effect on the
            scene; 0: every pair counts.
        min_confidence: smallest confidence of points; None: drop the least confident fifth of each image.
        align: config of the global alignment.
        robust: config of the poses of pairs and of the first guess.
    """

    window: int | None = None
    min_matches: int = ENOUGH_MATCHES
    min_confidence: float | None = None
    align: AlignConfig = field(default_factory=AlignConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)

    def __post_init__(self) -> None:
        check_least(self, "min_matches", least=0)
        if self.min_confidence is not None and not math.isfinite(self.min_confidence):
            raise ConfigError(f"min_confidence must be a number; got {self.min_confidence}")


def reconstruct(
    predictor: TwoViewPredictor,
    images: list[SourceImage],
    config: ReconstructConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scene:
    """Reconstruct cameras and points from pictures.

    Args:
        predictor: the two-view model, on its device; alignment runs on the CPU.
        images: two or more images, of any sizes.
        progress: called with the number of pairs done and their total.

    Raises:
        ConfigError: for fewer than two images.
        DataError: if images do not overlap, one is too elongated, or no point is confident enough.
    """
    pairs = choose_pairs(len(images), config.window)
    graph = build_graph(predictor, images, pairs, progress, config.robust)
    return scene_of(graph, images, config)


def scene_of(graph: Graph, images: list[SourceImage], config: ReconstructConfig) -> Scene:
    """Reconstruct cameras and points from the predictions of all pairs.

    Raises:
        DataError: see `reconstruct`.
    """
    if config.min_matches:
        check_connected(graph, images, config.min_matches)
        graph = consistent_pairs(graph, config.min_matches)
    if config.min_confidence is not None:
        check_confidence(graph, len(images), config.min_confidence)
    start = first_guess(graph, images, config.robust)
    aligned = align(graph, start, [image.focal is not None for image in images], config.align)
    return make_scene(graph, images, aligned, min_confidence=config.min_confidence)
