"""One encoder, several heads: images in, a `Scene` out, with one pass of the encoder per image."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from codistill.analysis.pca import PcaBasis
from codistill.encoders.base import Encoder
from codistill.encoders.preprocess import ImageLike, check_size
from codistill.encoders.states import TokenState, encode_states
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import Precision, autocast
from codistill.perception.config import HeadConfig, PerceptionConfig, read_config
from codistill.perception.images import Picture, as_names, encoder_input, read_pictures, seen_size
from codistill.perception.lazy import timed
from codistill.perception.opening import HeadFacts, open_heads
from codistill.perception.pretrained import find_pretrained
from codistill.perception.scene import Scene
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.people.sight import PeopleAnswer
from codistill.tasks.shared.features import Source, check_finite
from codistill.tasks.two_view.sight import TwoViewAnswer
from codistill.types import Tokens

DEFAULT_SIZE = 448
"""Pixels of an image's longer side if neither a head nor the encoder gives a size."""

Head = str | Path | HeadConfig


class Perception:
    """An encoder with heads on it, in evaluation mode.

    Args:
        encoder: what `load_encoder` takes; or an `Encoder`, or a `Student` with its projectors; None: the encoder on
            which the first fitted head was trained.
        heads: heads by the name of their answers: a folder of `codistill fit`, a released file, the name of a shipped
            model, or a `HeadConfig`. For a released file or a model's head, the name is taken as the task, unless its
            config names one.
        size: pixels to which an image's longer side is resized for the encoder, rounded to whole patches; None: the
            largest size at which a head was fitted, else the encoder's native size.
        batch_size: images per pass of the encoder.
        device: `auto` means CUDA if it is available.
        precision: precision of encoder and projectors; `auto`: bf16 on CUDA. Heads choose as in `codistill predict`.
        about: a text that says what was trained on which data, and by whom.

    Raises:
        ConfigError: if an encoder or task is not named, the size is less than two patches, or a head was fitted on
            another encoder (the text has both names).
        CheckpointError: if something cannot be read.
    """

    def __init__(
        self,
        encoder: str | Path | Source | None = None,
        heads: Mapping[str, Head] | None = None,
        *,
        size: int | None = None,
        batch_size: int = 16,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        about: str = "",
    ) -> None:
        if heads is not None and not isinstance(heads, Mapping):
            raise ConfigError(
                f'heads are given by the name of their answers, {{"depth": "heads/depth"}}; got {heads!r}'
            )
        limits = PerceptionConfig(size=size, batch_size=batch_size, precision=precision)  # checks the values
        opened = open_heads(encoder, {name: _config(head) for name, head in (heads or {}).items()})
        self._heads, self._encoder = opened.heads, opened.encoder
        self.named, self.about = opened.named, about
        self.precision: Precision = precision
        self.batch_size = batch_size
        native = [head.facts.size for head in opened.heads.values()] or [
            self._encoder.spec.image_size or DEFAULT_SIZE
        ]
        self.size = limits.size or max(native)
        check_size(self.size, self._encoder.spec.patch_size)
        plain = isinstance(device, str) and device in ("auto", "cpu", "cuda")
        self.to(choose_device(device) if plain else device)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        heads = f" with {', '.join(self._heads)}" if self._heads else ""
        return f"{type(self).__name__}({self.named_shortly}{heads}; {self.size} pixels, on {self._device})"

    @classmethod
    def from_config(cls, config: str | Path | PerceptionConfig, **options: Any) -> "Perception":
        """Load the perception of a YAML file, or of a config.

        Args:
            config: the file (its paths are relative to it), or the config.
            options: arguments of the constructor, which override those of the config.

        Raises:
            ConfigError, CheckpointError: see the class.
        """
        read = config if isinstance(config, PerceptionConfig) else read_config(config)
        chosen = {
            "size": read.size,
            "batch_size": read.batch_size,
            "precision": read.precision,
            "about": read.about,
        }
        return cls(read.encoder, read.heads, **(chosen | options))

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> "Perception":
        """Load a perception that ships with codistill, by its name.

        Raises:
            ConfigError: for an unknown name; the text lists the known ones.
        """
        return cls.from_config(find_pretrained(name), **options)

    @property
    def encoder(self) -> Encoder:
        """The encoder that all heads share."""
        return self._encoder

    @property
    def heads(self) -> Mapping[str, HeadFacts]:
        """Description of each head, by its name."""
        return {name: head.facts for name, head in self._heads.items()}

    @property
    def device(self) -> torch.device:
        """Device of encoder and heads."""
        return self._device

    def prepare(self) -> "Perception":
        """Do slow preparations of heads now, not at their first answers: building the body model Anny.

        Raises:
            MissingExtraError: if a head needs a package that is not installed.
        """
        for head in self._heads.values():
            head.sight.prepare(head.model)
        return self

    def together(self, name: str) -> bool:
        """Whether a head gives one answer on several images together."""
        return self._heads[self.known(name)].sight.together

    def is_solid(self, name: str) -> bool:
        """Whether a head's answers are three-dimensional: depth, bodies, cameras."""
        kind = self._heads[self.known(name)].sight.gives
        return issubclass(kind, (DepthAnswer, PeopleAnswer, TwoViewAnswer))

    def known(self, name: str) -> str:
        """Return a name if there is an answer of that name.

        Raises:
            ConfigError: if there is none.
        """
        if name not in self._heads:
            raise ConfigError(unknown_name("answer", name, self._heads))
        return name

    @property
    def named_shortly(self) -> str:
        """The encoder's name; for a path, its last part."""
        return Path(self.named).name

    def to(self, device: torch.device | str) -> "Perception":
        """Move encoder and heads to a device."""
        self._device = torch.device(device)
        self._encoder.to(self._device)
        for head in self._heads.values():
            head.model.to(self._device)
        return self

    def describe(self) -> dict[str, Any]:
        """Description of encoder and heads as JSON values: names, licences, training data, numbers of parameters."""
        spec = self._encoder.spec
        return {
            "about": self.about,
            "encoder": {
                "encoder": self.named,
                "name": spec.name,
                "licence": spec.licence,
                "parameters": sum(parameter.numel() for parameter in self._encoder.parameters()),
                "patch_size": spec.patch_size,
                "size": self.size,
            },
            "heads": {name: asdict(head.facts) for name, head in self._heads.items()},
        }

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        want: str | Sequence[str] | None = None,
        size: int | None = None,
        focal: float | Sequence[float | None] | None = None,
        names: str | Sequence[str] | None = None,
        basis: PcaBasis | None = None,
    ) -> Scene:
        """Encode images, each once, whatever the number of heads.

        Args:
            images: one or several of any sizes: paths, bytes of image files, PIL images, arrays (row, column, 3).
            want: name or names of the answers to compute now; None: each answer is computed on first access.
            size: replaces the size of the perception.
            focal: focal lengths of the images in pixels, one for all or one for each; None: from EXIF, else a field of
                view of 60 degrees across the longer side.
            names: names of the images; None: the names of their files, else their indices.
            basis: PCA basis of the features' colours, from another scene; None: computed from these images.

        Raises:
            DataError: if an image cannot be used, or features are not finite.
            ConfigError: for an unknown answer, or a size of less than two patches.
        """
        wanted = [self.known(name) for name in as_names(want or ())]
        if size is not None:
            PerceptionConfig(size=size)  # checks the value
            check_size(size, self._encoder.spec.patch_size)
        seconds: dict[str, float] = {}
        with timed(seconds, "preprocess", self._device):
            pictures = read_pictures(images, focal, names)
        scene = Scene(
            pictures,
            self._encoded(pictures, self.size if size is None else size, seconds),
            self._heads,
            normed=self._encoder.apply_norm,
            device=self._device,
            precision=self.precision,
            seconds=seconds,
            about=self.describe(),
            basis=basis,
        )
        scene.compute(wanted)
        return scene

    @torch.inference_mode()
    def _encoded(
        self, pictures: Sequence[Picture], size: int, seconds: dict[str, float]
    ) -> list[dict[TokenState, Tokens]]:
        """Encode images; returns the token states of each as a batch of one. Images of equal shape share a pass."""
        states = {state: None for head in self._heads.values() for state in head.features.states}
        wanted = list(states) or [TokenState()]
        if not any(state.block is None for state in wanted):
            wanted.append(TokenState())
        patch = self._encoder.spec.patch_size
        groups: dict[tuple[int, int], list[int]] = {}
        for number, picture in enumerate(pictures):
            groups.setdefault(seen_size(picture.pixels.shape, size, patch), []).append(number)
        found: dict[int, dict[TokenState, Tokens]] = {}
        for shape, numbers in groups.items():
            for start in range(0, len(numbers), self.batch_size):
                chosen = numbers[start : start + self.batch_size]
                with timed(seconds, "preprocess", self._device):
                    batch = encoder_input([pictures[number] for number in chosen], shape, self._device)
                with timed(seconds, "encode", self._device), autocast(self._device, self.precision):
                    outputs = encode_states(self._encoder, batch, wanted)
                    check_finite(outputs.values(), self.named)
                for row, number in enumerate(chosen):
                    found[number] = {state: tokens[row] for state, tokens in outputs.items()}
        return [found[number] for number in range(len(pictures))]


def _config(head: Head) -> HeadConfig:
    return head if isinstance(head, HeadConfig) else HeadConfig(path=str(head))
