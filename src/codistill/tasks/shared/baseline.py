"""A baseline that every encoder must beat: mean and standard deviation of each patch's colours, and its position.

It sees no shape, and of texture only the contrast: a data set on which it scores well needs no encoder.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from codistill.encoders.base import Encoder, normed_by
from codistill.types import EncoderSpec, Tokens

CHANNELS = 11


class ColourPositionEncoder(Encoder):
    """Patch tokens of 11 channels: mean and standard deviation of each colour; row, column and their products.

    Args:
        patch_size: pixels per token side.
    """

    def __init__(self, patch_size: int = 14) -> None:
        super().__init__()
        self.spec = EncoderSpec(
            name="baseline:colour",
            dim=CHANNELS,
            patch_size=patch_size,
            has_cls=False,
            licence="none (no weights)",
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of images (batch, 3, row, column); the same with and without norm."""
        patch = self.spec.patch_size
        mean = avg_pool2d(images, patch)
        spread = (avg_pool2d(images.square(), patch) - mean.square()).clamp(min=0.0).sqrt()
        rows, columns = mean.shape[-2:]
        kind = {"device": images.device, "dtype": mean.dtype}
        down, across = torch.meshgrid(
            torch.linspace(-1, 1, rows, **kind), torch.linspace(-1, 1, columns, **kind), indexing="ij"
        )
        place = torch.stack((down, across, down**2, across**2, down * across))
        features = torch.cat((mean, spread, place.expand(images.shape[0], -1, -1, -1)), dim=1)
        return Tokens(patches=features.flatten(2).transpose(1, 2), grid=(rows, columns), normed=norm)

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """The same tokens: there is no separate norm."""
        return normed_by(nn.Identity(), tokens)


BASELINES = {"colour": ColourPositionEncoder}
"""Encoders without weights, for `--baseline NAME` (`baseline:NAME` where an encoder is named)."""
