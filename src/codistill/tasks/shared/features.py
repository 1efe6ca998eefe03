"""Frozen features: from normalized images of any size to tokens of the chosen blocks, or of a projector.

Images whose sides are not multiples of the patch size are padded with zeros on all sides (the "center padding" of
DINOv2's evaluations). The token map is not cropped back; this is part of those protocols.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import add_weights
from codistill.encoders.load import load_encoder
from codistill.encoders.states import TokenState, encode_states
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.student.load import load_student
from codistill.student.student import Student
from codistill.tasks.shared.baseline import BASELINES
from codistill.types import Tokens
from codistill.weights.export import as_json


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Which encoder to use, and which of its features.

    Attributes:
        encoder: as for `load_encoder`, or `baseline:colour`; "" if not yet given.
        projector: name of a teacher of the student `encoder`; its projected tokens are then the features.
        denormalize: convert projected tokens, which are standardized, back to the teacher's own feature space, for
            heads fitted on the teacher itself.
        norm: apply the encoder's final norm; projectors always take un-normed tokens.
        blocks: blocks whose outputs are used, 0-based, negative from the end; several are levels of one head.
    """

    encoder: str = ""
    projector: str | None = None
    denormalize: bool = False
    norm: bool = True
    blocks: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ConfigError("blocks must name one block at least; -1 is the last")
        if self.projector is not None and self.blocks != (-1,):
            raise ConfigError(
                f"blocks {self.blocks} belong to an encoder alone; after the projector of {self.projector!r} there is "
                "one level"
            )
        if self.denormalize and self.projector is None:
            raise ConfigError("denormalize needs a projector: name the teacher (--projector)")


def center_padding(size: tuple[int, int], patch_size: int) -> tuple[int, int, int, int]:
    """Zeros (left, right, top, bottom) that pad (rows, columns) to the next multiples of the patch size."""
    missing = [-side % patch_size for side in size]
    top, left = missing[0] // 2, missing[1] // 2
    return left, missing[1] - left, top, missing[0] - top


Source = Encoder | Student
"""An encoder or student in memory that makes the features."""


def check_finite(levels: Iterable[Tokens], encoder: str) -> None:
    """Refuse tokens that are NaN or infinite: a class is found in them all the same, and means would leave them out.

    Raises:
        DataError: if a token is NaN or infinite.
    """
    tensors = [part for tokens in levels for part in (tokens.patches, tokens.cls) if part is not None]
    if not all(bool(part.isfinite().all()) for part in tensors):
        raise DataError(
            f"the features of {encoder} are not finite (NaN or infinite): its weights are damaged, or overflow. Take "
            "the file again from where it came from, or an earlier checkpoint"
        )


class FrozenFeatures(nn.Module):
    """A frozen encoder, with a projector if the config names one.

    Args:
        config: encoder and choice of features.
        source: an encoder or a student in memory, used instead of loading `config.encoder`, which is then only its
            name.

    Attributes:
        config: encoder and choice of features.
        encoder: the encoder; `encoder.spec` holds its patch size and licence.
        channels: channels of a patch token.
        has_cls: whether tokens come with a class token.
        cls_channels: channels of the class token: 0 if there is none, more than `channels` for some summaries.
    """

    def __init__(self, config: FeatureConfig, source: Source | None = None) -> None:
        super().__init__()
        if not config.encoder:
            raise ConfigError(
                "which features? add --encoder E: a file, a run, an export, a known name, baseline:colour"
            )
        self.config = config
        self.student: Student | None = None
        if config.projector is not None:
            self.student = _student(config.encoder, source)
            names = [target.name for target in self.student.targets]
            if config.projector not in names:
                raise ConfigError(f"{config.encoder}: {unknown_name('teacher', config.projector, names)}")
            target = self.student.targets[names.index(config.projector)]
            if "patch" not in target.kinds:
                raise ConfigError(f"{config.encoder}: its projector of {target.name!r} gives no patch tokens")
            self.encoder: Encoder = self.student.encoder
            self.channels, self.has_cls = target.dim, "cls" in target.projected
            wide = target.cls_dim
        else:
            self.encoder = _encoder(config.encoder, source)
            self.channels, self.has_cls = self.encoder.spec.dim, self.encoder.spec.has_cls
            wide = self.encoder.spec.cls_dim
        self.cls_channels = (wide or self.channels) if self.has_cls else 0
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FrozenFeatures":
        """Stay in evaluation mode: the encoder is frozen."""
        return super().train(False)

    @property
    def patch_size(self) -> int:
        """Pixels per token side."""
        return self.encoder.spec.patch_size

    def width(self, *, with_cls: bool = False) -> int:
        """Channels of all levels together, including class tokens if `with_cls`."""
        return (self.channels + (self.cls_channels if with_cls else 0)) * len(self.config.blocks)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the token map for an image of `size` (rows, columns)."""
        return -(-size[0] // self.patch_size), -(-size[1] // self.patch_size)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 row column"]) -> list[Tokens]:
        """Compute the tokens of every level.

        Args:
            images: ImageNet-normalized, of any size.
        """
        size = (images.shape[-2], images.shape[-1])
        images = pad(images, center_padding(size, self.patch_size))
        try:
            found = encode_states(self.encoder, images, self.states)
        except (NotImplementedError, ValueError) as error:
            if self.config.blocks == (-1,):
                raise
            raise ConfigError(f"--blocks {','.join(map(str, self.config.blocks))}: {error}") from error
        return self.levels(found)

    def finite(self, images: Float[Tensor, "batch 3 row column"]) -> list[Tokens]:
        """As `forward`, for tokens that are scored or shown: raises DataError if any of them is not finite."""
        found = self(images)
        check_finite(found, self.config.encoder)
        return found

    @property
    def states(self) -> tuple[TokenState, ...]:
        """The states that the encoder must return, in the order of `levels`."""
        config = self.config
        if self.student is not None:
            blocks = self.student.projector_blocks
            single = blocks == (self.student.encoder.config.depth - 1,)
            return (TokenState(None, norm=False),) if single else tuple(TokenState(b, False) for b in blocks)
        if config.blocks == (-1,):
            return (TokenState(None, config.norm),)
        return tuple(TokenState(block, config.norm) for block in config.blocks)

    @torch.no_grad()
    def levels(self, found: Mapping[TokenState, Tokens]) -> list[Tokens]:
        """Tokens of every level from the states of one encoder pass, after the projector if there is one.

        Args:
            found: contains at least `states`; may also contain states that other heads need from the same pass.
        """
        outputs = [found[state] for state in self.states]
        if self.student is None:
            return outputs
        assert self.config.projector is not None
        return [self.student.project(outputs, self.config.projector, self.config.denormalize)]

    def for_head(self, tokens: Tokens, *, normed: bool) -> Tokens:
        """Mark tokens as normed or not, as a head expects; projected tokens have no final norm and pass as either."""
        return tokens if self.student is None else replace(tokens, normed=normed)

    def describe(self) -> dict[str, object]:
        """Encoder, licence and choice of features, as JSON values for a metrics file."""
        spec = self.encoder.spec
        return {
            "encoder": self.config.encoder,
            "name": spec.name,
            "licence": spec.licence,
            "projector": self.config.projector,
            "denormalize": self.config.denormalize,
            "norm": self.config.norm and self.config.projector is None,
            "blocks": list(self.config.blocks),
            "channels": self.channels,
            "patch_size": spec.patch_size,
        }

    def fingerprint(self) -> str:
        """SHA-256 over the encoder's architecture, its weights and the config: equal for equal features."""
        digest = hashlib.sha256(repr(replace(self.config, encoder="-")).encode())
        digest.update(json.dumps(as_json(self.encoder.architecture()), sort_keys=True).encode())
        add_weights(digest, self)
        return digest.hexdigest()


def _student(text: str, source: Source | None) -> Student:
    if isinstance(source, Encoder):
        raise ConfigError(f"{text} was given as an encoder alone, and a projector belongs to a student")
    return load_student(text) if source is None else source


def _encoder(text: str, source: Source | None) -> Encoder:
    if source is not None:
        return source.encoder if isinstance(source, Student) else source
    return load_features_encoder(text)


def load_features_encoder(text: str) -> Encoder:
    """Load the encoder of a `FeatureConfig`: anything that `load_encoder` takes, or `baseline:colour`."""
    prefix, _, name = text.partition(":")
    if prefix != "baseline":
        return load_encoder(text)
    if name not in BASELINES:
        raise ConfigError(unknown_name("baseline", name, BASELINES))
    return BASELINES[name]()
