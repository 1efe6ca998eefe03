"""Cameras, points and matches of several images from shared tokens; see `tasks/shared/seen.py`.

As in `codistill reconstruct`, every pair is predicted in both orders, a first guess places the images, and a global
alignment may follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from codistill.errors import ConfigError, check_least
from codistill.heads.two_view.frozen import as_fast_as
from codistill.heads.two_view.load import read_two_view
from codistill.heads.two_view.network import TwoViewHead
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.task import Sight, Subject
from codistill.tasks.two_view.decode import EncodedView, PairDecoder
from codistill.tasks.two_view.head import fitted_network, published_protocol, released_file
from codistill.tasks.two_view.reconstruct.align import AlignConfig
from codistill.tasks.two_view.reconstruct.edges import choose_pairs, graph_of, unconnected
from codistill.tasks.two_view.reconstruct.files import describe
from codistill.tasks.two_view.reconstruct.images import SourceImage, exif_focal
from codistill.tasks.two_view.reconstruct.preview import preview
from codistill.tasks.two_view.reconstruct.reconstruct import ReconstructConfig, scene_of
from codistill.tasks.two_view.reconstruct.scene import Scene
from codistill.weights.read import read_checkpoint


@dataclass(frozen=True, kw_only=True)
class TwoViewOptions:
    """How several images are reconstructed together.

    Attributes:
        iterations: steps of the global alignment; 0 keeps the first guess, and is fast.
        subsample: distance between the seeds of matching, pixels of the network's image.
        window: two images form a pair if they are at most this far apart in the given order; None: all pairs.
        min_matches: number of consistent matches from which a pair counts as overlapping; 0: every pair does.
    """

    iterations: int = 0
    subsample: int = 8
    window: int | None = None
    min_matches: int = 0

    def __post_init__(self) -> None:
        check_least(self, "subsample")
        check_least(self, "iterations", "min_matches", least=0)


@dataclass(frozen=True, repr=False)
class TwoViewAnswer(Answer):
    """A reconstruction of two or more images, in metres if the head was trained on metres.

    Attributes:
        scene: cameras, points and pairs.
    """

    scene: Scene

    @cached_property
    def pointmaps(self) -> tuple[Float[np.ndarray, "row column 3"], ...]:
        """Points of each image in the first camera's frame, at the size of the network's image."""
        return tuple(camera.points() for camera in self.scene.cameras)

    @property
    def confidence(self) -> tuple[Float[np.ndarray, "row column"], ...]:
        """Confidence of the points."""
        return tuple(camera.confidence for camera in self.scene.cameras)

    @property
    def colours(self) -> tuple[np.ndarray, ...]:
        """The images at the size of their pointmaps, (row, column, 3) uint8."""
        return tuple(camera.colours for camera in self.scene.cameras)

    @cached_property
    def cameras(self) -> Float[np.ndarray, "view 4 4"]:
        """Camera-to-world poses; the first camera is at the origin."""
        return np.stack([camera.camera_to_world for camera in self.scene.cameras])

    @property
    def focals(self) -> Float[np.ndarray, " view"]:
        """Focal lengths in pixels of the original images."""
        return np.array([camera.focal for camera in self.scene.cameras])

    @cached_property
    def matches(self) -> dict[tuple[int, int], Float[np.ndarray, "match 4"]]:
        """Matches by pair of images: x and y in the first, x and y in the second, pixels of the original images."""
        return {
            (link.first, link.second): np.concatenate((link.matches.pixels_a, link.matches.pixels_b), axis=1)
            for link in self.scene.links
        }

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """Images, depths, the points seen from the side, and matches of the best pairs."""
        del pixels, like
        return np.asarray(preview(self.scene))

    def text(self) -> str:
        cameras, links = self.scene.cameras, self.scene.links
        found = sum(len(link.matches) for link in links)
        text = f"{len(cameras)} cameras, {len(self.scene.points)} points, {found} matches"
        apart = unconnected(links, len(cameras))
        names = ", ".join(cameras[number].image.path.name for number in apart)
        return f"{text}; no overlap was found between {names} and the other images" if apart else text

    def facts(self) -> Mapping[str, Any]:
        return describe(self.scene, {})

    def arrays(self) -> Mapping[str, np.ndarray]:
        made: dict[str, np.ndarray] = {"cameras": self.cameras, "focals": self.focals}
        for number, (points, confidence) in enumerate(zip(self.pointmaps, self.confidence, strict=True)):
            made |= {f"points_{number}": points, f"confidence_{number}": confidence}
        return made | {f"matches_{i}_{j}": values for (i, j), values in self.matches.items()}


@dataclass
class TwoViewModelOnTokens:
    """A two-view head on features that it shares with other heads.

    Attributes:
        features, head: on one device, in evaluation mode.
        long_edge: length in pixels of an image's longer side at which the head was fitted.
        options: see `TwoViewOptions`.
    """

    features: FrozenFeatures
    head: TwoViewHead
    long_edge: int
    options: TwoViewOptions

    def to(self, device: torch.device | str) -> "TwoViewModelOnTokens":
        self.features.to(device)
        self.head.to(device)
        return self


def load_on_tokens(subject: Subject, options: TwoViewOptions) -> TwoViewModelOnTokens:
    """Load a fitted or released head (MASt3R, DUSt3R, DUNE-MASt3R) on the subject's features.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if the encoder does not fit the head.
    """
    assert subject.head is not None and subject.features is not None
    path = released_file(subject.head.expanduser())
    if path.is_file():
        record, head = None, read_two_view(path, read_checkpoint(path)).build()
        seen = published_protocol(head)
        say_unknown(path, subject.features.encoder)
    else:
        record, head, seen = fitted_network(path)
    config = replace(subject.features, norm=not head.config.fresh_norm)
    features, wanted = FrozenFeatures(config, subject.source), head.config
    fits = features.student is not None or features.patch_size == wanted.patch_size
    if features.width() != wanted.encoder_dim or not fits:
        raise ConfigError(
            f"{path} takes tokens of {wanted.encoder_dim} channels and patch size {wanted.patch_size}; "
            f"{config.encoder} gives {features.width()} channels at patch size {features.patch_size}. Use the encoder "
            "that the head was fitted on, or project into its space (projector, denormalize)."
        )
    if record is not None:
        check_features(path, record, features, subject.other_encoder)
    return TwoViewModelOnTokens(features, as_fast_as(features.encoder, head), seen.long_edge, options)


def answer(model: TwoViewModelOnTokens, images: Sequence[Seen]) -> TwoViewAnswer:
    """Reconstruct the images.

    Raises:
        DataError: if images do not overlap (`min_matches`), or points give no focal length.
    """
    config, options = model.head.config, model.options
    views, sources = [], []
    for seen in images:
        tokens = model.features.for_head(seen.levels[-1], normed=not config.fresh_norm)
        views.append(EncodedView(tokens, seen.fit(config.patch_size)))
        known = seen.focal or (None if seen.path is None else exif_focal(seen.path, *seen.size))
        sources.append(SourceImage(seen.path or Path(seen.name), seen.pixels, known))
    decoder = PairDecoder(model.head, subsample=options.subsample)
    align = AlignConfig(iterations=options.iterations)
    reconstructed = ReconstructConfig(min_matches=options.min_matches, align=align)
    with torch.inference_mode(False), torch.enable_grad():  # the alignment uses gradients
        graph = graph_of(decoder, sources, views, choose_pairs(len(views), options.window))
        return TwoViewAnswer(scene_of(graph, sources, reconstructed))


SIGHT = Sight(
    answer=answer,
    gives=TwoViewAnswer,
    size=lambda model: model.long_edge,
    options=TwoViewOptions,
    load=load_on_tokens,
    together=True,
)
