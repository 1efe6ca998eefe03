"""Convert pixels to network input and back: the one place where images are normalized by ImageNet's constants."""

import torch
from jaxtyping import Float, Num
from torch import Tensor

from codistill.types import IMAGENET_MEAN, IMAGENET_STD

Images = Float[Tensor, "batch 3 row column"]
Pixels = Num[Tensor, "batch row column 3"]


def unit_range(pixels: Pixels) -> Images:
    """Convert pixels in 0 to 255 to float in 0 to 1, channels first, on their device."""
    return _channels_first(pixels).div_(255)


def imagenet_normalize_(images: Images) -> Images:
    """Normalize images in 0 to 1 by ImageNet's mean and standard deviation, in place, without a copy to the device."""
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        images[:, channel].sub_(mean).div_(std)
    return images


def normalized(pixels: Pixels) -> Images:
    """Convert pixels in 0 to 255 to ImageNet-normalized float, channels first, on their device."""
    return imagenet_normalize_(unit_range(pixels))


def normalized_in_one_pass(pixels: Pixels) -> Images:
    """As `normalized` up to rounding, by one product and one difference per value, for the batches of distillation."""
    images = _channels_first(pixels)
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        images[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return images


def unnormalized(images: Images) -> Images:
    """Convert ImageNet-normalized images back to 0 to 1."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images * std + mean).clamp(0, 1)


def _channels_first(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
