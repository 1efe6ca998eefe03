"""Facts about a vision transformer that are not in its tensors, and their sources.

No tensor holds the number of heads, the activation, eps, the normalization, or the rule by which position embeddings
are resized, and a wrong value gives wrong features without any error. These facts come, in this order, from the caller,
the file's own metadata, or the family of the file's known name, its hash or the caller's `like=`. A missing fact is an
error; it is never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from codistill.errors import CheckpointError, ConfigError, unknown_name
from codistill.nn.blocks import ACTIVATIONS
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.weights.known import KNOWN, KnownWeights, find_known
from codistill.weights.state import StateDict

HEAD_DIM = 64
"""Channels per attention head in the published networks of most families below."""

_IMAGENET: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_USUAL: dict[str, Any] = {"activation": "gelu", "norm_eps": 1e-6}
_BY_FACTOR: dict[str, Any] = {"position_offset": 0.1, "position_antialias": False}
_BY_SIZE: dict[str, Any] = {"position_offset": 0.0, "position_antialias": True}


@dataclass(frozen=True, kw_only=True)
class Stated:
    """Facts about a vision transformer; None if unknown. All are fields of `ViTConfig` or `EncoderWeights`.

    Attributes:
        like: a family (a key of `FAMILIES`) or a known name, whose facts replace None.
        num_heads: number of attention heads.
        mean, std: the normalization it was trained with.
        activation: activation of the feed-forward part.
        norm_eps: eps of its LayerNorms.
        position_offset, position_antialias: how a learned position embedding is resized.
    """

    like: str | None = None
    num_heads: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    activation: str | None = None
    norm_eps: float | None = None
    position_offset: float | None = None
    position_antialias: bool | None = None

    def __post_init__(self) -> None:
        if self.like is not None and self.like not in FAMILIES and family_of(self.like) is None:
            raise ConfigError(unknown_name("family or known weights", self.like, [*FAMILIES, *KNOWN]))
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ConfigError(unknown_name("activation", self.activation, ACTIVATIONS))

    @property
    def given(self) -> dict[str, Any]:
        """The facts that are not None."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def over(self, other: "Stated") -> "Stated":
        """These facts, with those of `other` where they are None."""
        return replace(other, **self.given)

    def resolved(self, width: int) -> "Stated":
        """The facts, completed by those of `like` for a network of that width."""
        if self.like is None:
            return self
        name = self.like if self.like in FAMILIES else family_of(self.like)
        assert name is not None
        said = dict(FAMILIES[name])
        heads = said.pop("heads", None)
        if isinstance(heads, int) and width % heads == 0:
            said["num_heads"] = width // heads
        elif isinstance(heads, Mapping) and width in heads:
            said["num_heads"] = heads[width]
        return self.over(Stated(**said))

    def architecture(self) -> dict[str, Any]:
        """The given fields of `ViTConfig`, without the number of heads."""
        names = ("activation", "norm_eps", "position_offset", "position_antialias")
        return {name: value for name, value in self.given.items() if name in names}

    def normalization(self) -> dict[str, Any]:
        return {name: value for name, value in self.given.items() if name in ("mean", "std")}


FAMILIES: dict[str, dict[str, Any]] = {
    "dinov2": {"heads": HEAD_DIM, **_IMAGENET, **_USUAL, **_BY_FACTOR},
    "dinov2_reg": {"heads": HEAD_DIM, **_IMAGENET, **_USUAL, **_BY_SIZE},
    "dune": {"heads": HEAD_DIM, **_IMAGENET, **_USUAL, **_BY_FACTOR},
    "dino": {"heads": {192: 3, 384: 6, 768: 12}, **_IMAGENET, **_USUAL, **_BY_FACTOR},
    "mae": {
        "heads": {768: 12, 1024: 16, 1280: 16},
        **_IMAGENET,
        **_USUAL,
        "position_offset": 0.0,
        "position_antialias": False,
    },
    "timm": {**_USUAL, **_BY_SIZE},
}
"""Facts that the published networks of a family share. `heads` is the number of channels per head, or the number of
heads by width. `timm` means timm's plain vision transformers, whose heads, mean and std differ from model to model and
must be given."""


def family_of(name: str) -> str | None:
    """The family of known weights by name; None for an unknown name, or weights of another layout."""
    known = find_known(name)
    return None if known is None else family_of_known(known)


def family_of_known(known: KnownWeights) -> str | None:
    """The family of known weights; None for layouts with their own rules (MASt3R, decoders)."""
    for start, family in (("dinov2", "dinov2"), ("dune_", "dune"), ("multihmr", "dinov2")):
        if known.name.startswith(start):
            return f"{family}_reg" if known.name.endswith("_reg") else family
    return None


def require_facts(state: StateDict, stated: Stated) -> None:
    """Check that every fact of a plain vision transformer is known.

    Args:
        state: its tensors.
        stated: resolved facts.

    Raises:
        CheckpointError: if facts are missing; the text lists them and how to give them.
    """
    needed = ["num_heads", "mean", "std", "norm_eps"]
    if not state.has("blocks.0.mlp.w12.weight"):
        needed.append("activation")
    if state.has("pos_embed"):
        needed += ["position_offset", "position_antialias"]
    missing = [name for name in needed if getattr(stated, name) is None]
    if not missing:
        return
    dim = state.tensor("patch_embed.proj.weight", 4).shape[0]
    file = state.path.name
    raise CheckpointError(
        f"{state.path}: is a plain vision transformer, {dim} wide, and neither its tensors nor its metadata nor its "
        f"name give its {', '.join(missing)}; wrong values give wrong features. Name its family: "
        f"{file},like=NAME, with NAME one of {', '.join(FAMILIES)} or a known name (timm: also num_heads, mean, std); "
        f"or each of them, e.g. {file},num_heads=12,mean=0.5/0.5/0.5,std=0.5/0.5/0.5,activation=gelu,norm_eps=1e-6,"
        f"position_offset=0,position_antialias=true. In Python: load_encoder(..., like=...)."
    )
