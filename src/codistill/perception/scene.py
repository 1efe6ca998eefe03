"""What a perception says of some images: every answer is computed when it is first asked for, from tokens that exist.

The encoder has run before a scene is made. Answers are in the original images' pixels.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from codistill.analysis.pca import PcaBasis, fit_pca
from codistill.encoders.states import TokenState
from codistill.errors import ConfigError, unknown_name
from codistill.geometry.projection import depth_to_pointmap
from codistill.imaging.colours import overlay
from codistill.nn.precision import Precision, autocast
from codistill.perception.images import Picture
from codistill.perception.opening import OpenHead
from codistill.tasks.classification.sight import LabelsAnswer
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.dense.normals.sight import NormalsAnswer
from codistill.tasks.dense.segmentation.sight import SegmentationAnswer
from codistill.tasks.people.focal import FoundCamera, find_camera
from codistill.tasks.people.sight import PeopleAnswer, Person
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.two_view.sight import TwoViewAnswer
from codistill.types import Tokens

T = TypeVar("T")
FEATURES, IMAGE = "features", "image"
"""Names of pictures that need no head."""


class PerImage(Sequence[T], Generic[T]):
    """Something of every image, computed when it is indexed."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(self._count)[index]]
        if not -self._count <= index < self._count:
            raise IndexError(f"image {index} of {self._count}")
        return self._make(index % self._count)

    def __len__(self) -> int:
        return self._count


class Scene:
    """Answers on some images; a `Perception` makes it.

    Attributes:
        seconds: by stage: `preprocess`, `encode`, `draw`, and each head's name once it has answered.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        found: Sequence[Mapping[TokenState, Tokens]],
        heads: Mapping[str, OpenHead],
        *,
        normed: Callable[[Tokens], Tokens],
        device: torch.device,
        precision: Precision,
        seconds: dict[str, float],
        about: Mapping[str, Any],
        basis: PcaBasis | None = None,
    ) -> None:
        self._pictures, self._found, self._heads = list(pictures), list(found), dict(heads)
        self._normed, self._device = normed, device
        self._precision: Precision = precision
        self._about, self.seconds = about, seconds
        self._answers: dict[tuple[str, int], Answer] = {}
        self._tokens: dict[int, Tokens] = {}
        self._drawn: dict[int, np.ndarray] = {}
        if basis is not None:
            self.basis = basis

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def images(self) -> PerImage[UInt8[np.ndarray, "row column 3"]]:
        """The images, upright, at their own sizes."""
        return PerImage(len(self), lambda i: self._pictures[i].pixels)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the images."""
        return tuple(picture.name for picture in self._pictures)

    def wants(self) -> tuple[str, ...]:
        """Names of the answers that there are: heads; those for several images only where there are several."""
        return tuple(n for n, head in self._heads.items() if len(self) > 1 or not head.sight.together)

    @property
    def tokens(self) -> PerImage[Tokens]:
        """The encoder's own tokens of each image, after its final norm where it can be had; batches of one."""
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
        """Of the colours of `pca`; another scene takes it for the same colours (frames of a video)."""
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

    def __getitem__(self, name: str) -> "PerImage[Answer] | Answer":
        """A head's answers, one for each image; or its only one, if it sees the images together."""
        if self._head(name).sight.together:
            return self.answer(name)
        return PerImage(len(self), lambda i: self.answer(name, i))

    def answer(self, name: str, index: int = 0) -> Answer:
        """A head's answer on an image; every answer is computed once."""
        head = self._head(name)
        index = 0 if head.sight.together else range(len(self))[index]
        if (name, index) not in self._answers:
            self.compute((name,), images=(index,))
        return self._answers[name, index]

    def compute(self, wanted: Sequence[str], *, images: Sequence[int] | None = None) -> None:
        """Compute the answers of some heads now, those that are there excepted.

        Args:
            wanted: their names.
            images: numbers of the images; None: all.
        """
        for name in wanted:
            head = self._head(name)
            if head.sight.together:
                if (name, 0) not in self._answers:
                    with self._computing(name):
                        answer = head.sight.answer(head.model, self._seen(head, range(len(self))))
                    assert isinstance(answer, Answer)
                    self._answers[name, 0] = answer
                continue
            rows = range(len(self)) if images is None else images
            missing = [index for index in rows if (name, index) not in self._answers]
            if missing:
                with self._computing(name):
                    answers = head.sight.answer(head.model, self._seen(head, missing))
                assert not isinstance(answers, Answer)
                self._answers |= {(name, i): answer for i, answer in zip(missing, answers, strict=True)}

    def _seen(self, head: OpenHead, images: Sequence[int]) -> list[Seen]:
        made = []
        for index in images:
            picture = self._pictures[index]
            with autocast(self._device, self._precision):
                levels = tuple(head.features.levels(self._found[index]))
            made.append(Seen(picture.pixels, levels, picture.name, picture.path, picture.focal))
        return made

    def _head(self, name: str) -> OpenHead:
        if name not in self._heads:
            raise ConfigError(unknown_name("answer", name, self._heads))
        head = self._heads[name]
        if head.sight.together and len(self) < 2:
            raise ConfigError(f"{name} needs two images of one place at least; got 1")
        return head

    def _giving(self, kind: type[Answer]) -> str:
        """The head whose answers are of a kind."""
        names = [name for name, head in self._heads.items() if issubclass(head.sight.gives, kind)]
        if len(names) == 1:
            return names[0]
        what = kind.__name__.removesuffix("Answer").lower()
        if not names:
            raise ConfigError(f"no head answers with {what}; heads: {', '.join(self._heads) or '(none)'}")
        raise ConfigError(f"{len(names)} heads answer with {what}: choose by name, scene[{names[0]!r}]")

    def gives(self, kind: type[Answer]) -> bool:
        """Whether one head answers with this kind."""
        return sum(issubclass(head.sight.gives, kind) for head in self._heads.values()) == 1

    def _of(self, kind: type[T]) -> PerImage[T]:
        name = self._giving(kind)  # type: ignore[arg-type]
        return PerImage(len(self), lambda i: self.answer(name, i))  # type: ignore[arg-type, return-value]

    @property
    def segmentation(self) -> PerImage[SegmentationAnswer]:
        """Classes of every pixel, from the only head that gives them."""
        return self._of(SegmentationAnswer)

    @property
    def depth(self) -> PerImage[Float[np.ndarray, "row column"]]:
        """Metres along the camera's axis of every pixel, fp32, from the only head that gives them."""
        answers = self._of(DepthAnswer)
        return PerImage(len(self), lambda i: answers[i].metres)

    @property
    def normals(self) -> PerImage[Float[np.ndarray, "row column 3"]]:
        """Unit normals of every pixel in the camera's frame, from the only head that gives them."""
        answers = self._of(NormalsAnswer)
        return PerImage(len(self), lambda i: answers[i].normals)

    @property
    def people(self) -> PerImage[tuple[Person, ...]]:
        """Everybody in an image, the nearest first, from the only head that finds people."""
        answers = self._of(PeopleAnswer)
        return PerImage(len(self), lambda i: answers[i].people)

    @property
    def body_faces(self) -> Int[np.ndarray, "face 3"]:
        """Triangles of every person's vertices."""
        return self._of(PeopleAnswer)[0].faces

    @property
    def labels(self) -> PerImage[Mapping[str, float]]:
        """The likeliest classes of an image with their shares, from the only classifier."""
        answers = self._of(LabelsAnswer)
        return PerImage(len(self), lambda i: answers[i].best)

    @property
    def two_view(self) -> TwoViewAnswer:
        """Cameras, points and matches of all images together, from the only head that gives them."""
        return self.answer(self._giving(TwoViewAnswer))  # type: ignore[return-value]

    def camera(self, index: int) -> FoundCamera:
        """A pinhole camera of an image: of its given focal length, else EXIF's, else 60 degrees across."""
        picture = self._pictures[index]
        return find_camera(picture.path, *picture.pixels.shape[:2], focal=picture.focal)

    def point_cloud(
        self, index: int = 0, *, limit: int = 200_000
    ) -> tuple[Float[np.ndarray, "point 3"], UInt8[np.ndarray, "point 3"]]:
        """Points in the image's camera frame (metres, x right, y down, z forward) and their colours, from its depth.

        Args:
            index: of the image.
            limit: most points; every so manieth row and column is taken.
        """
        return self.cloud_of(self._of(DepthAnswer)[index], index, limit=limit)

    def cloud_of(self, answer: DepthAnswer, index: int, *, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """As `point_cloud`, from a certain answer."""
        depth, pixels = answer.metres, self.images[index]
        step = max(1, int(np.ceil(np.sqrt(depth.size / limit))))
        chosen = slice(step // 2, None, step)
        points = depth_to_pointmap(torch.from_numpy(depth), self.camera(index).intrinsics)[
            chosen, chosen
        ].numpy()
        known = np.isfinite(points).all(-1) & (points[..., 2] > 0)
        return points[known], pixels[chosen, chosen][known]

    def similar(self, index: int, row: int, column: int) -> list[Float[np.ndarray, "row column"]]:
        """Cosine of every patch of every image to one patch.

        Args:
            index: the image of that patch. row, column: on its token grid.
        """
        rows, columns = self.tokens[index].grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise ConfigError(f"patch ({row}, {column}) is outside of the grid of {rows}x{columns}")
        wanted = _directions(self.tokens[index])[row * columns + column]
        return [(_directions(t) @ wanted).view(*t.grid).cpu().numpy() for t in self.tokens]

    def draw(
        self, name: str, index: int = 0, *, like: Answer | None = None
    ) -> UInt8[np.ndarray, "row column 3"]:
        """A picture of an answer; also of `features` (PCA colours over the image) and `image`.

        Args:
            name: of the head. index: of the image.
            like: another answer of this head, whose range of colours is kept.
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

    def as_json(self) -> dict[str, Any]:
        """What was computed so far, without large arrays: encoder, images, answers, seconds."""
        images = []
        for number, picture in enumerate(self._pictures):
            facts = {
                name: dict(answer.facts())
                for (name, index), answer in self._answers.items()
                if index == number and not self._heads[name].sight.together
            }
            rows, columns = picture.pixels.shape[:2]
            images.append({"name": picture.name, "rows": rows, "columns": columns, "answers": facts})
        together = {
            name: dict(answer.facts())
            for (name, _), answer in self._answers.items()
            if self._heads[name].sight.together
        }
        seconds = {stage: round(value, 6) for stage, value in self.seconds.items()}
        found: dict[str, Any] = {**self._about, "images": images, "seconds": seconds}
        return found | ({"together": together} if together else {})

    def arrays(self, index: int | None = None) -> dict[str, np.ndarray]:
        """Arrays of what was computed so far, by the head's name and the array's.

        Args:
            index: of one image; None: of all, with the image's number before the name.
        """
        made = {}
        for (name, number), answer in self._answers.items():
            together = self._heads[name].sight.together
            if index is not None and (together or number != range(len(self))[index]):
                continue
            start = name if together or index is not None else f"{number}/{name}"
            made |= {f"{start}_{part}" if part else start: values for part, values in answer.arrays().items()}
        return made

    @contextmanager
    def _computing(self, name: str) -> Iterator[None]:
        with self._timed(name), torch.inference_mode():
            yield

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        with timed(self.seconds, stage, self._device):
            yield


@contextmanager
def timed(seconds: dict[str, float], stage: str, device: torch.device) -> Iterator[None]:
    """Add the wall time of a block to a stage; waits for the device, whose work is asynchronous."""
    start = _now(device)
    yield
    seconds[stage] = seconds.get(stage, 0.0) + _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _directions(tokens: Tokens) -> Tensor:
    """(patch, channel) of length 1, fp32."""
    return normalize(tokens.patches[0].float(), dim=1)
