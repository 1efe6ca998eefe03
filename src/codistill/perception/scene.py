"""The results of a perception on images: features, every head's answer by its kind, points, pictures.

The encoder has run before a scene is created. Answers are given in pixels of the original images.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from codistill.analysis.pca import PcaBasis, fit_pca
from codistill.encoders.states import TokenState
from codistill.errors import ConfigError
from codistill.geometry.projection import pixel_grid, unproject
from codistill.imaging.colours import overlay
from codistill.perception.answered import Answered
from codistill.perception.display import scene_html
from codistill.perception.lazy import PerImage
from codistill.tasks.classification.sight import LabelsAnswer
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.dense.normals.sight import NormalsAnswer
from codistill.tasks.dense.segmentation.sight import SegmentationAnswer
from codistill.tasks.people.focal import FoundCamera, find_camera
from codistill.tasks.people.sight import PeopleAnswer, PeopleSight, Person
from codistill.tasks.shared.seen import Answer
from codistill.tasks.two_view.sight import TwoViewAnswer
from codistill.types import Tokens

FEATURES, IMAGE = "features", "image"
"""Names of the pictures that `draw` makes without a head."""


class Scene(Answered):
    """Answers on some images, returned by a `Perception`. See `Answered` for answers by the head's name.

    Args:
        given, more: see `Answered`.
        normed: function that applies the encoder's final norm to un-normed tokens.
        basis: PCA basis of the features' colours, from another scene.
    """

    def __init__(
        self, *given: Any, normed: Callable[[Tokens], Tokens], basis: PcaBasis | None = None, **more: Any
    ) -> None:
        super().__init__(*given, **more)
        self._normed = normed
        self._tokens: dict[int, Tokens] = {}
        self._drawn: dict[int, np.ndarray] = {}
        if basis is not None:
            self.basis = basis

    @property
    def tokens(self) -> PerImage[Tokens]:
        """The encoder's own tokens of each image, as batches of one; after the final norm if it can be applied."""
        return PerImage(len(self), self._tokens_of)

    def _tokens_of(self, index: int) -> Tokens:
        if index not in self._tokens:
            found = self._found[index]
            normed, bare = found.get(TokenState()), found.get(TokenState(None, norm=False))
            if normed is None:
                assert bare is not None
                normed = self._normed(bare)
            self._tokens[index] = normed
        return self._tokens[index]

    @cached_property
    def basis(self) -> PcaBasis:
        """PCA basis of the colours of `pca`; passed to another scene, it gives the same colours (frames of a video)."""
        with self._timed("draw"):
            return fit_pca(tokens.patches.float().cpu() for tokens in self.tokens)

    @property
    def pca(self) -> PerImage[UInt8[np.ndarray, "row column 3"]]:
        """The tokens' first three principal components as colours, on the token grid; one basis for all images."""
        return PerImage(len(self), self._colours)

    def _colours(self, index: int) -> np.ndarray:
        if index not in self._drawn:
            tokens, basis = self.tokens[index], self.basis
            with self._timed("draw"):
                colours = basis.colours(tokens.patches[0].cpu()).view(*tokens.grid, -1).numpy()
            self._drawn[index] = (colours * 255 + 0.5).astype(np.uint8)
        return self._drawn[index]

    @property
    def segmentation(self) -> PerImage[SegmentationAnswer]:
        """Class of every pixel, from the only head that segments."""
        return self._of(SegmentationAnswer)

    @property
    def depth(self) -> PerImage[Float[np.ndarray, "row column"]]:
        """Depth of every pixel in metres along the camera's axis, fp32, from the only head that gives depth."""
        answers = self._of(DepthAnswer)
        return PerImage(len(self), lambda i: answers[i].metres)

    @property
    def normals(self) -> PerImage[Float[np.ndarray, "row column 3"]]:
        """Unit normal of every pixel in the camera's frame, from the only head that gives normals."""
        answers = self._of(NormalsAnswer)
        return PerImage(len(self), lambda i: answers[i].normals)

    @property
    def people(self) -> PerImage[tuple[Person, ...]]:
        """All people in an image, the nearest first, from the only head that finds people."""
        answers = self._of(PeopleAnswer)
        return PerImage(len(self), lambda i: answers[i].people)

    @property
    def body_faces(self) -> Int[np.ndarray, "face 3"]:
        """Triangles of the body mesh, as indices of vertices; they are the same for all people."""
        return self._of(PeopleAnswer)[0].faces

    @property
    def labels(self) -> PerImage[Mapping[str, float]]:
        """The most likely classes of an image with their shares, from the only classifier."""
        answers = self._of(LabelsAnswer)
        return PerImage(len(self), lambda i: answers[i].best)

    @property
    def two_view(self) -> TwoViewAnswer:
        """Cameras, points and matches of all images together, from the only two-view head."""
        return self.answer(self._giving(TwoViewAnswer))  # type: ignore[return-value]

    def camera(self, index: int) -> FoundCamera:
        """Pinhole camera of an image, from the given focal length, else EXIF's, else an assumed field of view.

        That is the `fov` of the head that finds people, so that bodies and points of depth fit together; without it, 60
        degrees.
        """
        picture, models = self._pictures[index], [head.model for head in self._heads.values()]
        fov = next((model.fov for model in models if isinstance(model, PeopleSight)), None)
        return find_camera(picture.path, *picture.pixels.shape[:2], focal=picture.focal, assumed=fov)

    def point_cloud(
        self, index: int = 0, *, limit: int = 200_000
    ) -> tuple[Float[np.ndarray, "point 3"], UInt8[np.ndarray, "point 3"]]:
        """Points in the image's camera frame (metres, x right, y down, z forward) and their colours, from its depth.

        Args:
            index: index of the image.
            limit: approximate largest number of points; only every n-th row and column is used if there are more.
        """
        return self.cloud_of(self._of(DepthAnswer)[index], index, limit=limit)

    def cloud_of(self, answer: DepthAnswer, index: int, *, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """As `point_cloud`, from a given depth answer."""
        if limit < 1:
            raise ConfigError(f"limit is the largest number of points, 1 or more; got {limit}")
        depth, pixels = answer.metres, self.images[index]
        step = max(1, int(np.ceil(np.sqrt(depth.size / limit))))
        chosen = slice(step // 2, None, step)
        grid = pixel_grid(*depth.shape)[chosen, chosen]
        points = unproject(
            grid, torch.from_numpy(depth[chosen, chosen]), self.camera(index).intrinsics
        ).numpy()
        known = np.isfinite(points).all(-1) & (points[..., 2] > 0)
        return points[known], pixels[chosen, chosen][known]

    def similar(self, index: int, row: int, column: int) -> list[Float[np.ndarray, "row column"]]:
        """Cosine similarity of every patch of every image to one patch.

        Args:
            index: index of the image of that patch.
            row, column: position of the patch on the token grid.
        """
        rows, columns = self.tokens[index].grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise ConfigError(f"patch ({row}, {column}) is outside of the grid of {rows}x{columns}")
        wanted = _directions(self.tokens[index])[row * columns + column]
        return [(_directions(t) @ wanted).view(*t.grid).cpu().numpy() for t in self.tokens]

    def draw(
        self, name: str, index: int = 0, *, like: Answer | None = None
    ) -> UInt8[np.ndarray, "row column 3"]:
        """Draw a picture of an answer, of `features` (PCA colours over the image), or of the `image`.

        Args:
            name: name of the head, `features` or `image`.
            index: index of the image.
            like: another answer of this head, whose range of colours is used.
        """
        pixels = self.images[index]
        if name == IMAGE:
            return pixels
        if name == FEATURES:
            colours = cv2.resize(self.pca[index], pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            return overlay(pixels, colours, 0.85)
        answer = self.answer(name, index)
        with self._timed("draw"):
            return answer.draw(pixels, like)

    def _repr_html_(self) -> str:
        """HTML that a notebook shows: every image with its answers, see `perception.display`."""
        return scene_html(self)


def _directions(tokens: Tokens) -> Tensor:
    """Patch tokens (patch, channel) scaled to length 1, fp32."""
    return normalize(tokens.patches[0].float(), dim=1)
