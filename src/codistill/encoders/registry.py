"""Register encoders of your own: a spec, a function from images to tokens, and a name.

import torchvision, codistill
from codistill.encoders.registry import FunctionEncoder
from codistill.types import EncoderSpec

@codistill.register_encoder("resnet18")
def resnet18():
    net = torchvision.models.resnet18(weights="DEFAULT")
    trunk = torch.nn.Sequential(*list(net.children())[:-2])
    return FunctionEncoder(EncoderSpec(name="resnet18", dim=512, patch_size=32, has_cls=False), trunk)

encoder = codistill.load_encoder("resnet18")        # and --teacher resnet,resnet18 on the command line

A package adds encoders by entry points of the group `codistill.encoders`: a name, and the `module:function` of such a
factory. The module is imported when the name is used; `register_encoder` is not needed.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from codistill.encoders.base import Encoder, normed_by
from codistill.encoders.published import PUBLISHED
from codistill.errors import ConfigError
from codistill.files.added import ENCODERS, added, load_added
from codistill.files.hashes import text_sha256
from codistill.types import EncoderSpec, Tokens
from codistill.weights.known import KNOWN

Factory = Callable[[], Encoder]

REGISTERED: dict[str, Factory] = {}
"""Factories by name; filled by `register_encoder`."""


def register_encoder(
    name: str, factory: Factory | None = None, *, replace: bool = False
) -> Callable[[Factory], Factory]:
    """Make an encoder known to `load_encoder` by a name of your own.

    Args:
        name: a name without ':' and ','.
        factory: called without arguments at each load; returns an `Encoder`. Leave it out to use a decorator.
        replace: allow a name that belongs to another factory, which is replaced.

    Returns:
        A decorator that registers its function and returns it.

    Raises:
        ConfigError: for a name that is taken by another factory, or holds ':' or ','.
    """
    if not name or set(name) & set(":,/\\"):
        raise ConfigError(f"an encoder's name must not be empty or hold ':', ',' or '/'; got {name!r}")

    def register(made: Factory) -> Factory:
        taken = REGISTERED.get(name)
        if taken is not None and not replace and not _same_source(taken, made):
            raise ConfigError(
                f"the encoder name {name!r} is taken by {taken.__module__}.{taken.__qualname__}. "
                "Choose another one, or take it over: register_encoder(..., replace=True)."
            )
        REGISTERED[name] = made
        return made

    if factory is not None:
        register(factory)
    return register


def encoder_names() -> list[str]:
    """Names of registered encoders and of those that installed packages add."""
    return [*REGISTERED, *added(ENCODERS, {*KNOWN, *PUBLISHED, *REGISTERED})]


def find_factory(name: str) -> Factory | None:
    """The factory registered under a name, or added by an installed package; None if unknown.

    Raises:
        ConfigError: if the package cannot be imported, or its entry point is not a function.
    """
    if name in REGISTERED:
        return REGISTERED[name]
    point = added(ENCODERS, {*KNOWN, *PUBLISHED}).get(name)
    if point is None:
        return None
    factory: Factory = load_added(point)
    if not callable(factory):
        raise ConfigError(
            f"the entry point {name!r} of {ENCODERS} is {type(factory).__name__}, not a function"
        )
    return factory


def _same_source(one: Factory, other: Factory) -> bool:
    """Whether two functions come from one definition that ran twice (a module imported again, a notebook cell)."""
    places = [(getattr(f, "__module__", None), getattr(f, "__qualname__", id(f))) for f in (one, other)]
    return places[0] == places[1]


class FunctionEncoder(Encoder):
    """Any network as an encoder, made from its spec and a module or function from images to tokens.

    Args:
        spec: sizes and normalization. `patch_size` is the network's stride: pixels per token.
        function: takes images (batch, 3, row, column) in the spec's own normalization, and returns one of: `Tokens`;
            a feature map (batch, channel, row, column); patch tokens (batch, patch, channel). A module's parameters
            become the encoder's own.

    Such an encoder has no separate final norm: tokens are the same for norm=True and norm=False.
    """

    def __init__(self, spec: EncoderSpec, function: nn.Module | Callable[[Tensor], Tensor | Tokens]) -> None:
        super().__init__()
        self.spec = spec
        self.function = function

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of images in the network's own normalization.

        Raises:
            ConfigError: if the function's shape differs from its spec.
        """
        patch = self.spec.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        tokens = as_tokens(self.function(images), grid, norm, self.spec)
        shape = tuple(tokens.patches.shape)
        wanted = (images.shape[0], grid[0] * grid[1], self.spec.dim)
        if shape != wanted or tokens.grid != grid or (tokens.cls is None) == self.spec.has_cls:
            raise ConfigError(
                f"encoder {self.spec.name!r} gave patches {shape} on the grid {tokens.grid}, class token: "
                f"{tokens.cls is not None}. Its spec says {wanted} on {grid}, class token: {self.spec.has_cls}. "
                f"Correct the spec's dim ({self.spec.dim}), patch_size ({patch}; it must be the stride) or has_cls."
            )
        return tokens

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """The same tokens: there is no separate norm."""
        return normed_by(nn.Identity(), tokens)

    def architecture(self) -> dict[str, Any]:
        """Adds the module's structure, or the function's name (its code is not examined)."""
        function = self.function
        if isinstance(function, nn.Module):
            said = {"structure": text_sha256(repr(function))}
        else:
            made = getattr(function, "func", function)
            said = {
                "function": f"{getattr(made, '__module__', '')}.{getattr(made, '__qualname__', type(made))}"
            }
        return {**super().architecture(), **said}


def as_tokens(output: Tensor | Tokens, grid: tuple[int, int], norm: bool, spec: EncoderSpec) -> Tokens:
    """Convert a feature map, patch tokens or `Tokens` to `Tokens` with `normed` set to `norm`."""
    if isinstance(output, Tokens):
        return Tokens(output.patches, output.grid, output.cls, output.registers, normed=norm)
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        what = (
            f"a tensor with {output.ndim} axes"
            if isinstance(output, Tensor)
            else f"a {type(output).__name__}"
        )
        raise ConfigError(
            f"encoder {spec.name!r} gave {what}; allowed: Tokens, a feature map (batch, channel, row, column), or "
            "patch tokens (batch, patch, channel)"
        )
    if output.ndim == 3:
        return Tokens(patches=output, grid=grid, normed=norm)
    found = (output.shape[-2], output.shape[-1])
    return Tokens(patches=output.flatten(2).transpose(1, 2), grid=found, normed=norm)
