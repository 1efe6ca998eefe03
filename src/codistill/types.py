"""Types shared by all packages: `Tokens` of an encoder, `Batch` of the loader, `EncoderSpec` and `TargetSpec`.

All are frozen. The batch is the first axis of every tensor. Token sequences are (batch, patch, channel); maps are
(batch, channel, row, column). `Tokens` is registered as a pytree node, so that functions of torch that traverse
containers (torch.export, torch.func, collectives on trees) accept it.
"""

import importlib
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree

from codistill.errors import ConfigError

Domain = str
"""Domain of an image: `generic`, `3d`, `human`, or a name chosen by the user."""

TokenKind = Literal["cls", "patch"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """An encoder's output for a batch of images of one shape. Indexing, length and iteration go over the batch.

    Attributes:
        patches: (batch, patch, channel), row-major over the grid.
        grid: rows and columns of the patch grid; rows * columns = patch.
        cls: (batch, channel), or None where the encoder has no class token.
        registers: (batch, register, channel), or None.
        normed: whether the encoder's final norm was applied. Consumers that were trained on un-normed tokens
            (projectors, released two-view decoders) refuse normed ones, and consumers trained on normed tokens refuse
            un-normed ones.
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
        """Tokens of one kind: `cls`, (batch, channel), or `patch`, (batch, patch, channel)."""
        return self.cls if kind == "cls" else self.patches

    def map(self, function: Callable[[Tensor], Tensor]) -> "Tokens":
        """The same `Tokens` with a function applied to every tensor."""
        changed = {name: function(value) for name in _TENSORS if (value := getattr(self, name)) is not None}
        return replace(self, **changed)

    def to(self, *args: Any, **kwargs: Any) -> "Tokens":
        """Move to another device or dtype; takes the arguments of `torch.Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def cpu(self) -> "Tokens":
        return self.to("cpu")

    def detach(self) -> "Tokens":
        return self.map(Tensor.detach)

    def __len__(self) -> int:
        return self.patches.shape[0]

    def __getitem__(self, index: "int | slice | Sequence[int] | Tensor") -> "Tokens":
        """Select images of the batch; an integer index gives a batch of one."""
        if not isinstance(index, (int, slice)):
            index = torch.as_tensor(index, device=self.patches.device)
            if index.ndim == 0:  # a whole number of NumPy or torch
                index = operator.index(index)
            elif not index.numel():
                index = index.long()  # an empty list becomes a tensor of floats
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"image {index} of a batch of {len(self)}")
            index = slice(index % len(self), index % len(self) + 1)
        return self.map(lambda tensor: tensor[index])

    def __iter__(self) -> "Iterator[Tokens]":
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name}={None if value is None else tuple(value.shape)}"
            for name in _TENSORS
            if (value := getattr(self, name)) is not None or name == "cls"
        )
        kind = f"{str(self.patches.dtype).removeprefix('torch.')}, {self.patches.device}"
        return f"Tokens({shapes}, grid={self.grid}, normed={self.normed}, {kind})"

    def _repr_html_(self) -> str:
        """HTML that a notebook shows, see `analysis.display`; imported by name, because this layer is below it."""
        return importlib.import_module("codistill.analysis.display").tokens_html(self)


_TENSORS = ("patches", "cls", "registers")


def _flatten(tokens: Tokens) -> tuple[list[Tensor], tuple[Any, ...]]:
    names = tuple(name for name in _TENSORS if getattr(tokens, name) is not None)
    return [getattr(tokens, name) for name in names], (names, tuple(tokens.grid), tokens.normed)


def _flatten_with_keys(tokens: Tokens) -> tuple[list[tuple[Any, Tensor]], tuple[Any, ...]]:
    values, context = _flatten(tokens)
    return [(pytree.GetAttrKey(name), value) for name, value in zip(context[0], values, strict=True)], context


def _unflatten(values: "Iterator[Any]", context: Sequence[Any]) -> Tokens:
    """Rebuild `Tokens` around any leaves, without checks: while tracing, torch passes leaves that are no tensors."""
    names, grid, normed = context
    tokens = object.__new__(Tokens)
    held = dict.fromkeys(_TENSORS) | dict(zip(names, values, strict=True))
    for name, value in {**held, "grid": tuple(grid), "normed": normed}.items():
        object.__setattr__(tokens, name, value)
    return tokens


pytree.register_pytree_node(
    Tokens,
    _flatten,
    _unflatten,  # type: ignore[arg-type]
    serialized_type_name="codistill.types.Tokens",
    flatten_with_keys_fn=_flatten_with_keys,  # type: ignore[arg-type]
    to_dumpable_context=list,
    from_dumpable_context=lambda context: (tuple(context[0]), tuple(context[1]), context[2]),
)


@dataclass(frozen=True)
class BadImage:
    """An image that could not be used, and the reason. It is counted, listed and replaced; the run goes on."""

    source: str
    name: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Images with their provenance. Everything but `images` lives on the host.

    Attributes:
        images: (batch, 3, row, column), float, ImageNet-normalized.
        domains: domain of each image, e.g. `generic`. Teacher sharing uses it to decide which teacher sees the image.
        sources: name of the source of each image.
        names: name of each image within its source, as error reports list it.
        bad: images that were replaced while this batch was made.
        places: where the batch is a part of a step: indices of its images among this process's images of the step;
            None: in order, see `StepContext.slots`.
    """

    images: Float[Tensor, "batch 3 row column"]
    domains: tuple[Domain, ...]
    sources: tuple[str, ...]
    names: tuple[str, ...]
    bad: tuple[BadImage, ...] = ()
    places: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.domains)

    def with_images(self, images: Tensor) -> Self:
        """The same batch with other pixels (another device, another dtype)."""
        return replace(self, images=images)

    def _repr_html_(self) -> str:
        """HTML that a notebook shows, see `analysis.display`."""
        return importlib.import_module("codistill.analysis.display").batch_html(self)


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Description of an encoder: sizes, input normalization, licence.

    Attributes:
        name: as the user gave it, or as in the file.
        dim: channels of a token.
        patch_size: pixels per token along each axis (the stride, for a convolutional network).
        depth: number of blocks; 0 for networks without blocks.
        has_cls: whether the encoder gives `Tokens.cls`.
        num_registers: number of register tokens.
        image_size: the native (square) training size in pixels, or None.
        mean, std: the network's own normalization. Callers pass ImageNet-normalized images, which the encoder converts.
        licence: licence of the weights, or "unknown".
        cls_dim: channels of `Tokens.cls` where they differ from the network's width (several summary tokens, a
            projection); None: `dim`.
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
    cls_dim: int | None = None


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """Description of a teacher's targets, from which the student builds its projector.

    Attributes:
        name: name of the teacher.
        dim: channels of its patch tokens (of its class tokens, if those are its only targets).
        kinds: token kinds that are targets.
        cls_dim: channels of its class tokens where they differ from `dim`; None: `dim`.
        pooled: whether the prediction of its class token is the teacher's own pool applied to the predicted patches;
            otherwise the projector predicts the class token.
        token: the student's token that predicts its class tokens: 0 is the class token, 1 … are the registers.
    """

    name: str
    dim: int
    kinds: tuple[TokenKind, ...] = ("cls", "patch")
    cls_dim: int | None = None
    pooled: bool = False
    token: int = 0

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= {"cls", "patch"}:
            raise ConfigError(
                f"token kinds of teacher {self.name!r} must be cls and/or patch; got {self.kinds}"
            )
        if self.pooled and set(self.kinds) != {"cls", "patch"}:
            raise ConfigError(
                f"teacher {self.name!r} pools predicted patches to class tokens, so its kinds must be cls and patch; "
                f"got {self.kinds}"
            )

    def width(self, kind: TokenKind) -> int:
        """Channels of a token kind."""
        return self.cls_dim or self.dim if kind == "cls" else self.dim

    @property
    def projected(self) -> tuple[TokenKind, ...]:
        """The token kinds that the student's projector predicts."""
        return ("patch",) if self.pooled else self.kinds
