"""Frozen encoders for fast inference: a `ViTEncoder` in, the same encoder in one dtype out.

The copy has neither parameters nor gradients. Its state dict holds the SHA-256 of the weights that it was made from, so
that its fingerprint depends on them and on the precision, not on the rounding of a machine.
"""

from typing import Any

import torch
from torch import Tensor

from codistill.encoders.base import Encoder, normed_by
from codistill.encoders.fingerprint import weights_hash
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.geometry.full_precision import full_precision
from codistill.nn.frozen import FrozenVisionTransformer
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.int8_linear import Int8Linear
from codistill.types import Tokens
from codistill.weights.contents import EncoderWeights

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}
"""Dtype of a frozen encoder by its precision; for `int8`, the dtype of everything but the matrix products."""


class FrozenViTEncoder(FrozenVisionTransformer, ViTEncoder):
    """A `ViTEncoder` folded and rounded once, see `nn/frozen.py`. Its tokens are fp32 in every precision.

    Args:
        encoder: the encoder to copy; it is not changed.
        precision: a key of `DTYPES`.
    """

    source_sha256: Tensor

    def __init__(self, encoder: ViTEncoder, precision: str) -> None:
        linear = Int8Linear if precision == "int8" else FrozenLinear
        FrozenVisionTransformer.__init__(self, encoder, DTYPES[precision], linear)
        self.spec, self.precision = encoder.spec, precision
        self._num_parameters = encoder.num_parameters
        digest = torch.frombuffer(bytearray.fromhex(weights_hash(encoder)), dtype=torch.uint8)
        self.register_buffer("source_sha256", digest)
        self._architecture = {**encoder.architecture(), "precision": precision}
        self.eval()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **more: Any) -> None:
        given = state_dict.get(f"{prefix}source_sha256")
        if given is not None and not torch.equal(given.cpu(), self.source_sha256.cpu()):
            raise ConfigError(
                f"this state is of other weights than {self.spec.name}, and holds none of them: load the encoder that "
                "it was made with"
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **more)

    @property
    def num_parameters(self) -> int:
        return self._num_parameters

    def architecture(self) -> dict[str, Any]:
        """The architecture of the original encoder, and the precision."""
        return self._architecture

    def weights(self) -> EncoderWeights:
        """Raises ConfigError: the weights that it was made of are not kept, so it cannot be saved."""
        raise ConfigError(
            f"{self.spec.name} was loaded with precision={self.precision}, which folds its weights and cannot be "
            "saved: load it without a precision, and save that"
        )

    def forward(self, images: Tensor, norm: bool = True) -> Any:
        """Tokens of ImageNet-normalized images, as `Encoder.forward`; refuses images that require gradients."""
        if isinstance(images, Tensor) and images.requires_grad and torch.is_grad_enabled():
            raise ConfigError(
                f"{self.spec.name} was loaded with precision={self.precision}, which has no gradients, and these "
                "images require them. Load it without a precision."
            )
        return Encoder.forward(self, images, norm)

    @torch.no_grad()
    def apply_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final norm, in fp32."""
        with full_precision(tokens.patches):
            return normed_by(self.norm, tokens)

    def _like(self) -> Tensor:
        return self.norm_weight
