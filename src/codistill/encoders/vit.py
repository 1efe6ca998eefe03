"""codistill's vision transformer as an `Encoder`: DUNE and UNIC students, DINOv2, encoders of MASt3R and Multi-HMR."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from codistill.encoders.base import Encoder, normed_by
from codistill.encoders.hub import HubEncoder
from codistill.nn.vit import VisionTransformer, ViTConfig
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Tokens


class TransformerEncoder(Encoder, VisionTransformer):
    """A `VisionTransformer` with a spec. Its state-dict keys are those of the network itself.

    Args:
        config: the architecture.
        name, licence: name and licence of the weights.
        mean, std: the normalization that the network was trained with.
    """

    def __init__(
        self,
        config: ViTConfig,
        *,
        name: str = "vit",
        licence: str = "unknown",
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        VisionTransformer.__init__(self, config)
        self.spec = EncoderSpec(
            name=name,
            dim=config.dim,
            patch_size=config.patch_size,
            depth=config.depth,
            has_cls=config.has_cls,
            num_registers=config.num_registers,
            image_size=config.image_size,
            mean=mean,
            std=std,
            licence=licence,
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of images in the network's own normalization."""
        return VisionTransformer.encode(self, images, norm)

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks, for images in the network's own normalization."""
        return VisionTransformer.encode_blocks(self, images, blocks, norm)

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final LayerNorm, which acts on each token by itself."""
        return normed_by(self.norm, tokens)

    def architecture(self) -> dict[str, Any]:
        """Adds the fields of `ViTConfig` that differ from their defaults, except stochastic depth (training only)."""
        said = {field.name: getattr(self.config, field.name) for field in fields(self.config)}
        defaults = {field.name: field.default for field in fields(self.config)}
        named = {key: value for key, value in said.items() if key != "drop_path" and value != defaults[key]}
        return {**super().architecture(), **named}


class ViTEncoder(HubEncoder, TransformerEncoder):
    """A `TransformerEncoder` that config and weights define completely, so that it can be saved, folded and trained."""
