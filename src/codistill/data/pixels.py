"""From the 8-bit pixels that workers send to what networks take: one place where images are normalized."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from codistill.types import IMAGENET_MEAN, IMAGENET_STD


def normalized(pixels: UInt8[Tensor, "batch row column 3"]) -> Float[Tensor, "batch 3 row column"]:
    """8-bit pixels as ImageNet-normalized float, channels first, on their device: scale and shift in one go."""
    images = _channels_first(pixels)
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        images[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return images


def _channels_first(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def unit_range(pixels: UInt8[Tensor, "batch row column 3"]) -> Float[Tensor, "batch 3 row column"]:
    """8-bit pixels as float in 0..1, channels first, on their device."""
    return _channels_first(pixels).div_(255)


def imagenet_normalize_(images: Float[Tensor, "batch 3 row column"]) -> Float[Tensor, "batch 3 row column"]:
    """Subtract ImageNet's mean and divide by its standard deviation, in place, without a copy to the device."""
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        images[:, channel].sub_(mean).div_(std)
    return images
