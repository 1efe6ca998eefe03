"""Resize maps of scores, in the same way for all dense tasks."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate


def resized(
    scores: Float[Tensor, "batch channel row column"], size: tuple[int, int]
) -> Float[Tensor, "batch channel row2 column2"]:
    """Resize bilinearly, without aligned corners.

    The result is stored with channels last: operations over the channels of each pixel (`argmax(1)`, norms) are then
    several times faster on a CPU.
    """
    last = scores.contiguous(memory_format=torch.channels_last)
    return interpolate(last, size=size, mode="bilinear", align_corners=False)
