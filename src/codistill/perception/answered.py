"""Answers of heads on images, each computed on first access from stored tokens.

In: images, the states of their tokens, heads on the encoder. Out: answers by the head's name, facts, arrays, times.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from codistill.encoders.states import TokenState
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import Precision, autocast
from codistill.perception.images import Picture, as_names
from codistill.perception.lazy import PerImage, timed
from codistill.perception.opening import OpenHead
from codistill.tasks.shared.seen import Answer, Seen
from codistill.types import Tokens

T = TypeVar("T")


class Answered:
    """Images with the answers of heads.

    Attributes:
        seconds: seconds by stage: `preprocess`, `encode`, `draw`, and the name of each head that has answered.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        found: Sequence[Mapping[TokenState, Tokens]],
        heads: Mapping[str, OpenHead],
        *,
        device: torch.device,
        precision: Precision,
        seconds: dict[str, float],
        about: Mapping[str, Any],
    ) -> None:
        self._pictures, self._found, self._heads = list(pictures), list(found), dict(heads)
        self._device, self._about, self.seconds = device, about, seconds
        self._precision: Precision = precision
        self._answers: dict[tuple[str, int], Answer] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def __repr__(self) -> str:
        heads = f"; answers: {', '.join(self.wants())}" if self.wants() else ""
        return f"{type(self).__name__}({', '.join(self.names)}{heads})"

    @property
    def images(self) -> PerImage[UInt8[np.ndarray, "row column 3"]]:
        """The images, upright, at their own sizes."""
        return PerImage(len(self), lambda i: self._pictures[i].pixels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(picture.name for picture in self._pictures)

    def wants(self) -> tuple[str, ...]:
        """Names of the available answers: all heads, but those that need several images only if there are several."""
        return tuple(n for n, head in self._heads.items() if len(self) > 1 or not head.sight.together)

    def sees_together(self, name: str) -> bool:
        """Whether a head answers once, on all images together."""
        return self._head(name).sight.together

    def __getitem__(self, name: str) -> "PerImage[Answer] | Answer":
        """A head's answers, one per image; or its single answer, if it sees all images together.

        Raises:
            ConfigError: for an unknown head, or a number (an image's answer is `scene[name][number]`).
        """
        if not isinstance(name, str):
            first = next(iter(self._heads), "depth")
            raise ConfigError(
                f"answers are found by the head's name, then by the image's number: scene[{first!r}][{name!r}]; heads: "
                f"{', '.join(self._heads)}"
            )
        if self.sees_together(name):
            return self.answer(name)
        return PerImage(len(self), lambda i: self.answer(name, i))

    def answer(self, name: str, index: int = 0) -> Answer:
        """A head's answer on an image, computed on first access and kept."""
        head = self._head(name)
        index = 0 if head.sight.together else range(len(self))[index]
        if (name, index) not in self._answers:
            self.compute((name,), images=(index,))
        return self._answers[name, index]

    def compute(self, wanted: str | Sequence[str], *, images: Sequence[int] | None = None) -> None:
        """Compute the answers of some heads now; answers that exist are not computed again.

        Args:
            wanted: name or names of the heads.
            images: indices of the images; None: all.
        """
        for name in as_names(wanted):
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
        """Name of the only head whose answers are of a kind."""
        names = [name for name, head in self._heads.items() if issubclass(head.sight.gives, kind)]
        if len(names) == 1:
            return names[0]
        what = kind.__name__.removesuffix("Answer").lower()
        if not names:
            raise ConfigError(f"no head answers with {what}; heads: {', '.join(self._heads) or '(none)'}")
        raise ConfigError(f"{len(names)} heads answer with {what}: choose by name, scene[{names[0]!r}]")

    def gives(self, kind: type[Answer]) -> bool:
        """Whether exactly one head gives answers of this kind."""
        return sum(issubclass(head.sight.gives, kind) for head in self._heads.values()) == 1

    def _of(self, kind: type[T]) -> PerImage[T]:
        name = self._giving(kind)  # type: ignore[arg-type]
        return PerImage(len(self), lambda i: self.answer(name, i))  # type: ignore[arg-type, return-value]

    def as_json(self) -> dict[str, Any]:
        """All that was computed so far, without large arrays: encoder, images, answers, seconds."""
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
        """Arrays of all answers computed so far, named by head and array.

        Args:
            index: index of an image, whose arrays are returned; None: arrays of all images, with the image's index
                before the name.
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
        head = self._heads[name]
        head.sight.prepare(head.model)  # once for all images (the body model): no time of this answer
        with self._timed(name), torch.inference_mode():
            yield

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        with timed(self.seconds, stage, self._device):
            yield
