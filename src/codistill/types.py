"""What travels between the parts: `Tokens` out of an encoder, `Batch` out of the loader, `EncoderSpec` beside both.

All are frozen. Tensors keep the batch first; token sequences are (batch, patch, channel); maps are
(batch, channel, row, column).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from codistill.errors import ConfigError

Domain = str
"""Where an image comes from: `generic`, `3d`, `human`, or a user's own word."""

TokenKind = Literal["cls", "patch"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tokens:
    """An encoder's output for a batch of images of one shape.

    Attributes:
        patches: (batch, patch, channel), row-major over the grid.
        grid: rows and columns of the patch grid; rows * columns = patch.
        cls: (batch, channel), or None where the encoder has no class token.
        registers: (batch, register, channel), or None.
        normed: whether the encoder's final norm was applied. Consumers that were trained on un-normed tokens
            (projectors, released two-view decoders) refuse normed ones, and the other way round.
    """

    patches: Float[Tensor, "batch patch channel"]
    grid: tuple[int, int]
    cls: Float[Tensor, "batch channel"] | None = None
    registers: Float[Tensor, "batch register channel"] | None = None
    normed: bool = True

    def feature_map(self) -> Float[Tensor, "batch channel row column"]:
        """Patch tokens as a map, (batch, channel, row, column)."""
        batch, _, channels = self.patches.shape
        return self.patches.transpose(1, 2).reshape(batch, channels, *self.grid)

    def of_kind(self, kind: TokenKind) -> Tensor | None:
        """`cls` (batch, channel) or `patch` (batch, patch, channel) tokens."""
        return self.cls if kind == "cls" else self.patches


@dataclass(frozen=True)
class BadImage:
    """An image that could not be used, and why: counted, listed and replaced, never fatal."""

    source: str
    name: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Images with where they come from. Everything but `images` lives on the host.

    Attributes:
        images: (batch, 3, row, column), float, ImageNet-normalized.
        domains: per image, e.g. `generic`. Sharing decides from these which teacher sees which image.
        sources: per image, the name of its source.
        names: per image, its name within the source: what an error report lists.
        bad: images that were replaced while this batch was made.
        places: where the images stand among those that the process has of the step, for a part of a step that was
            cut; None: in order, see `StepContext.slots`.
    """

    images: Float[Tensor, "batch 3 row column"]
    domains: tuple[Domain, ...]
    sources: tuple[str, ...]
    names: tuple[str, ...]
    bad: tuple[BadImage, ...] = ()
    places: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.domains)

    def with_images(self, images: Tensor) -> "Batch":
        """The same batch with other pixels (another device, another dtype)."""
        return replace(self, images=images)


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """What others must know of an encoder: sizes, its own input normalization, its licence.

    Attributes:
        name: what the user typed, or the name in the file.
        dim: channels of a token.
        patch_size: pixels per token along each axis (the stride, for a convolutional network).
        depth: number of blocks; 0 where that means nothing.
        has_cls: whether `Tokens.cls` is there.
        num_registers: register tokens.
        image_size: the native (square) training size in pixels, or None.
        mean, std: the normalization the network itself wants. Callers always bring ImageNet-normalized images;
            the encoder converts.
        licence: of the weights; "unknown" where nobody said.
    """

    name: str
    dim: int
    patch_size: int
    depth: int = 0
    has_cls: bool = True
    num_registers: int = 0
    image_size: int | None = None
    mean: Sequence[float] = field(default=IMAGENET_MEAN)
    std: Sequence[float] = field(default=IMAGENET_STD)
    licence: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """What a student must know of a teacher: its name, token width, and the token kinds it gives as targets."""

    name: str
    dim: int
    kinds: tuple[TokenKind, ...] = ("cls", "patch")

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= {"cls", "patch"}:
            raise ConfigError(
                f"token kinds of teacher {self.name!r} must be cls and/or patch; got {self.kinds}"
            )
