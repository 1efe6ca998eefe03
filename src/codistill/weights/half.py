"""Weights in half precision, as models are shipped.

The relative rounding error is at most 2⁻¹¹ (0.05 %) in fp16's normal range, from 6.1e-5 to 65504.
"""

from dataclasses import replace

import torch
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.weights.contents import EncoderWeights, StudentWeights


def half(
    weights: EncoderWeights | StudentWeights, *, name: str | None = None, licence: str | None = None
) -> EncoderWeights | StudentWeights:
    """Round weights to fp16; target statistics keep their precision.

    Args:
        weights: the weights to round.
        name, licence: replace the name and licence of the weights.

    Raises:
        CheckpointError: if a value does not fit into fp16.
    """
    if isinstance(weights, StudentWeights):
        encoder = half(weights.encoder, name=name, licence=licence)
        assert isinstance(encoder, EncoderWeights)
        projectors = {
            teacher: {key: rounded(tensor, f"{teacher}.{key}") for key, tensor in tensors.items()}
            for teacher, tensors in weights.projectors.items()
        }
        return replace(weights, encoder=encoder, projectors=projectors)
    tensors = {key: rounded(tensor, key) for key, tensor in weights.tensors.items()}
    return replace(weights, tensors=tensors, name=name or weights.name, licence=licence or weights.licence)


def rounded(tensor: Tensor, name: str) -> Tensor:
    """Round a floating-point tensor to fp16; other tensors are returned as they are.

    Raises:
        CheckpointError: if a finite value becomes infinite.
    """
    if not tensor.is_floating_point():
        return tensor
    small = tensor.to(torch.float16)
    if not torch.isfinite(small).all():
        raise CheckpointError(
            f"{name}: has values up to {float(tensor.abs().max()):.3g}, and fp16 ends at 65504: keep it in fp32"
        )
    return small
