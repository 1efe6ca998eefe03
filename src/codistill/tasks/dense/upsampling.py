"""Upsample scores of tokens to scores of pixels: bilinearly (as in the protocols), or guided by edges in the image."""

from typing import Literal, get_args

from torch import Tensor
from torch.nn.functional import pad

from codistill.errors import ConfigError, unknown_name
from codistill.nn.jbu import upsample_jbu
from codistill.tasks.shared.features import FrozenFeatures, center_padding

Upsampling = Literal["bilinear", "jbu"]


def check_upsampling(name: str) -> None:
    """Raise ConfigError for an unknown method."""
    if name not in get_args(Upsampling):
        raise ConfigError(unknown_name("upsample", name, get_args(Upsampling)))


def guided(scores: Tensor, images: Tensor, features: FrozenFeatures, factor: int | None = None) -> Tensor:
    """Upsample scores of tokens (batch, score, row, column) by joint bilateral upsampling.

    For heads that are linear in evaluation mode, this equals upsampling the features and then scoring them.

    Args:
        scores: scores of a linear head for the features of `images`.
        images: ImageNet-normalized, before the padding for the encoder.
        features: the frozen features, which know the patch size.
        factor: upsampling factor; None: one score per pixel of the padded images.
    """
    size = (images.shape[-2], images.shape[-1])
    guide = pad(images, center_padding(size, features.patch_size))
    return upsample_jbu(scores, guide, factor or features.patch_size)
