"""An encoder with a head on its tokens; the encoder is frozen or trained."""

from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.types import Tokens

Head = TypeVar("Head", bound=nn.Module)


class EncoderWithHead(nn.Module, Generic[Head]):
    """An encoder and a head that fits it; a frozen encoder has no gradient, and `train()` does not change its mode.

    Args:
        encoder: any encoder; its width and patch size must be those of the head.
        head: the head.
        freeze_encoder: keep the encoder without gradients, in evaluation mode.

    Raises:
        ConfigError: if the two do not fit.
    """

    kind: ClassVar[str]

    def __init__(self, encoder: Encoder, head: Head, *, freeze_encoder: bool = True) -> None:
        super().__init__()
        spec, config = encoder.spec, cast(Any, head).config
        if (spec.dim, spec.patch_size) != (config.encoder_dim, config.patch_size):
            raise ConfigError(
                f"the {self.kind} head was made for an encoder of {config.encoder_dim} channels and patch size "
                f"{config.patch_size}; {spec.name} has {spec.dim} channels and patch size {spec.patch_size}. Use the "
                "encoder that the head was trained on, or start a new head from it (see load.initialize)."
            )
        self.encoder, self.head, self.freeze_encoder = encoder, head, freeze_encoder
        encoder.requires_grad_(not freeze_encoder)
        if freeze_encoder:
            encoder.eval()

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        return self

    def encode(self, images: Float[Tensor, "batch 3 row column"]) -> Tokens:
        """Encode ImageNet-normalized images to tokens, with or without the final norm as the head needs."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            return self.encoder(images, norm=not cast(Any, self.head).config.fresh_norm)
