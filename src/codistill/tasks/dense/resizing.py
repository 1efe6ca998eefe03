"""Maps of scores at another size, as all dense tasks resize them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate


def resized(
    scores: Float[Tensor, "batch channel row column"], size: tuple[int, int]
) -> Float[Tensor, "batch channel row2 column2"]:
    """Bilinear, corners not aligned.

    Channels lie last in memory: what compares or norms them pixel by pixel (`argmax(1)`) is then several times
    faster on a CPU.
    """
    last = scores.contiguous(memory_format=torch.channels_last)
    return interpolate(last, size=size, mode="bilinear", align_corners=False)
