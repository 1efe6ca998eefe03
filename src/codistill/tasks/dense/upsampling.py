"""How scores of tokens become scores of pixels: bilinearly (the protocols), or guided by the image's own edges."""

from typing import Literal, get_args

from torch import Tensor
from torch.nn.functional import pad

from codistill.errors import ConfigError, unknown_name
from codistill.nn.jbu import upsample_jbu
from codistill.tasks.shared.features import FrozenFeatures, center_padding

Upsampling = Literal["bilinear", "jbu"]


def check_upsampling(name: str) -> None:
    """ConfigError for an unknown way."""
    if name not in get_args(Upsampling):
        raise ConfigError(unknown_name("upsample", name, get_args(Upsampling)))


def guided(scores: Tensor, images: Tensor, features: FrozenFeatures, factor: int | None = None) -> Tensor:
    """Scores of tokens (batch, score, row, column), magnified by joint bilateral upsampling.

    The same as upsampling the features and scoring them then, for heads that are linear in evaluation.

    Args:
        scores: a linear head's, of the features of `images`.
        images: ImageNet-normalized, as the features saw them before padding.
        features: with the patch size.
        factor: how many times finer; None: one score per pixel of the padded images.
    """
    size = (images.shape[-2], images.shape[-1])
    guide = pad(images, center_padding(size, features.patch_size))
    return upsample_jbu(scores, guide, factor or features.patch_size)
