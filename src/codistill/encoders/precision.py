"""Precision of an encoder: a precision's name in, the encoder in that precision out.

exact  the network as it was trained: fp32, with gradients, nothing folded
fp32   folded (`nn/frozen.py`): the same tokens up to rounding, somewhat faster
bf16   folded and rounded to bf16: about 1 % relative error in DINOv2's tokens, at least twice as fast
auto   bf16 on CUDA, and on a CPU where bf16 was measured to be faster (`nn/bf16_speed.py`); otherwise fp32
"""

from typing import Literal, get_args

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import in_bf16, warn_of_slow_bf16

EncoderPrecision = Literal["exact", "auto", "fp32", "bf16"]


def check_precision(precision: str) -> EncoderPrecision:
    """Return the name if it is a known precision.

    Raises:
        ConfigError: for an unknown name; the text lists the known ones.
    """
    if precision not in get_args(EncoderPrecision):
        raise ConfigError(unknown_name("precision of an encoder", precision, get_args(EncoderPrecision)))
    return precision  # type: ignore[return-value]


def chosen(precision: EncoderPrecision, device: torch.device | str) -> Literal["exact", "fp32", "bf16"]:
    """The precision that `auto` means on a device; any other precision is returned as it is."""
    if precision != "auto":
        return precision
    return "bf16" if in_bf16(device, "fast") else "fp32"


def in_precision(
    encoder: Encoder, precision: EncoderPrecision, device: torch.device | str = "cpu"
) -> Encoder:
    """Convert an encoder to a precision on a device; an encoder that has it already is returned as it is.

    Raises:
        ConfigError: for fp32 or bf16 of any encoder but codistill's own vision transformers, which alone can be folded;
            for a frozen encoder of another precision.
    """
    if isinstance(encoder, FrozenViTEncoder):
        if precision in ("exact", "auto") or chosen(precision, device) == encoder.precision:
            return encoder
        raise ConfigError(
            f"{encoder.spec.name} is in {encoder.precision} already; load it with precision={precision}"
        )
    if precision == "exact" or (precision == "auto" and not isinstance(encoder, ViTEncoder)):
        return encoder
    if not isinstance(encoder, ViTEncoder):
        raise ConfigError(
            f"{encoder.spec.name} cannot be loaded with precision={precision}: a {type(encoder).__name__} is not one "
            "of codistill's own vision transformers, which alone can be folded. Leave the precision out, and compute "
            "under torch.autocast."
        )
    if precision == "bf16" and torch.device(device).type == "cpu":
        warn_of_slow_bf16()
    return FrozenViTEncoder(encoder, chosen(precision, device))
