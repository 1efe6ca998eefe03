"""Quantize a frozen encoder's linear layers to 8-bit integers, in place.

Weights are rounded once, per output channel; activations in every call, per token. Products then run on the integer
units of the device, provided that the layers are compiled: uncompiled they are slower than fp32. Source: torchao's
`Int8DynamicActivationInt8WeightConfig`, after LLM.int8 (arXiv 2208.07339) without its outlier columns.
"""

import warnings

import torch
from torch import nn

from codistill.errors import MissingExtraError


def quantize_linears(encoder: nn.Module) -> None:
    """Replace the weights of all linear layers by 8-bit ones.

    Raises:
        MissingExtraError: without torchao.
    """
    try:
        from torchao.quantization import (  # pyright: ignore[reportMissingImports]
            Int8DynamicActivationInt8WeightConfig,
            quantize_,
        )
    except ImportError as error:
        raise MissingExtraError("torchao", "quantization", "Precision int8") from error
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecations inside torchao
        quantize_(encoder, Int8DynamicActivationInt8WeightConfig())
