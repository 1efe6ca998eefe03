"""From pictures to a scene: predict pairs, guess, align, fuse."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from codistill.errors import ConfigError, check_least
from codistill.geometry.robust import RobustConfig
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.reconstruct.align import AlignConfig, align
from codistill.tasks.two_view.reconstruct.edges import Graph, build_graph, check_connected, choose_pairs
from codistill.tasks.two_view.reconstruct.images import SourceImage
from codistill.tasks.two_view.reconstruct.scene import Scene, check_confidence, make_scene
from codistill.tasks.two_view.reconstruct.start import first_guess


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """How a reconstruction is made.

    Attributes:
        window: largest distance in the order given of two images that form a pair; None: all pairs.
        min_matches: consistent matches for a pair to count as overlapping; 0: every pair does.
        min_confidence: of points; None: drop the least confident fifth of each image.
        align: of all images together.
        robust: of the poses of pairs and of the first guess.
    """

    window: int | None = None
    min_matches: int = 12
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
    """Cameras and points of some pictures.

    Args:
        predictor: on its device; alignment runs on the CPU.
        images: two or more, of any sizes.
        progress: called with pairs done and in all.

    Raises:
        ConfigError: for fewer than two images.
        DataError: if images do not overlap, one is too elongated, or no point is confident enough.
    """
    pairs = choose_pairs(len(images), config.window)
    graph = build_graph(predictor, images, pairs, progress, config.robust)
    return scene_of(graph, images, config)


def scene_of(graph: Graph, images: list[SourceImage], config: ReconstructConfig) -> Scene:
    """Cameras and points from the predictions of all pairs.

    Raises:
        DataError: see `reconstruct`.
    """
    if config.min_matches:
        check_connected(graph, images, config.min_matches)
    if config.min_confidence is not None:
        check_confidence(graph, len(images), config.min_confidence)
    start = first_guess(graph, images, config.robust)
    aligned = align(graph, start, [image.focal is not None for image in images], config.align)
    return make_scene(graph, images, aligned, min_confidence=config.min_confidence)
