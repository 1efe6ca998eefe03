"""The linear depth head: from a map of frozen features to depth in metres at four times the map's resolution.

A 1x1 convolution scores depth bins. Depth is the mean of the bin centres, weighted by the rectified and shifted scores.
There is no batch norm. Key, without the released `decode_head.` prefix: `conv_depth.{weight,bias}`.

Source: DINOv2's "lin. 1" and "lin. 4" depth evaluation (bins: AdaBins, arXiv 2011.14141).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.errors import ConfigError
from codistill.nn.precision import full_precision
from codistill.types import Tokens

UPSAMPLING = 4
_FLOOR = 0.1  # keeps every bin alive, and the sum of scores positive


@dataclass(frozen=True, kw_only=True)
class DepthHeadConfig:
    """Architecture of a `DepthHead`.

    Attributes:
        channels: channels of the input, see `depth_input`: (patch + class token width) times the number of levels.
        bins: scored depths, evenly spaced from `nearest` to `farthest`.
        nearest, farthest: depth range in metres. NYU: 0.001 and 10, unlike the constructor of a released head.
    """

    channels: int
    bins: int = 256
    nearest: float = 1e-3
    farthest: float = 10.0

    def __post_init__(self) -> None:
        if self.channels < 1 or self.bins < 2:
            raise ConfigError(
                f"a depth head needs channels >= 1 and bins >= 2; got {self.channels} and {self.bins}"
            )
        if not 0.0 < self.nearest < self.farthest < float("inf"):
            raise ConfigError(
                f"depth limits must be 0 < nearest < farthest (metres); got {self.nearest} and {self.farthest}"
            )


def depth_input(levels: Sequence[Tokens]) -> Float[Tensor, "batch channel row column"]:
    """Concatenate the feature maps of one or more levels, each with its own class token repeated at every position.

    Encoders without a class token give only their maps.
    """
    parts = []
    for tokens in levels:
        features = tokens.feature_map()
        parts.append(features)
        if tokens.cls is not None:
            parts.append(tokens.cls[:, :, None, None].expand(-1, -1, *features.shape[-2:]))
    return torch.cat(parts, dim=1)


def depth_of_scores(scores: Tensor, centres: Float[Tensor, " bin"], dim: int) -> Tensor:
    """Mean bin centre (metres) under scores: p_k = (relu(z_k) + 0.1) / sum; the axis `dim` of the bins is reduced.

    One matrix product computes both sums over the bins, of rectified scores times centres and of rectified scores. What
    the 0.1 adds to them is constant.
    """
    with full_precision(scores):
        dtype = torch.promote_types(scores.dtype, centres.dtype)  # unlike a sum, a product needs equal types
        summed = torch.stack((centres, torch.ones_like(centres)), dim=1).to(dtype)  # (bin, 2)
        weighted, total = (torch.relu(scores).to(dtype).movedim(dim, -1) @ summed).unbind(-1)
    return (weighted + _FLOOR * centres.sum()) / (total + _FLOOR * len(centres))


class DepthHead(nn.Module):
    """The depth head of the module's text. It computes in fp32 under any autocast.

    The protocol resizes features, then convolves. A 1x1 convolution commutes with bilinear resizing (whose weights sum
    to 1), so scores are resized here instead: the same numbers for a sixteenth of the work.
    """

    centres: Tensor

    def __init__(self, config: DepthHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_depth = nn.Conv2d(config.channels, config.bins, kernel_size=1)
        centres = torch.linspace(config.nearest, config.farthest, config.bins)
        self.register_buffer("centres", centres, persistent=False)

    def forward(
        self, features: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch 1 row4 column4"]:
        """Depth in metres; rows and columns are four times the features'."""
        scores = self.scores(features)
        rows, columns = scores.shape[-2:]
        size = (UPSAMPLING * rows, UPSAMPLING * columns)
        return self.depth(interpolate(scores, size=size, mode="bilinear", align_corners=False))

    def scores(
        self, features: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch bin row column"]:
        """Scores of the bins at the features' own resolution."""
        with full_precision(features):
            return self.conv_depth(features.float())

    def depth(self, scores: Float[Tensor, "batch bin row column"]) -> Float[Tensor, "batch 1 row column"]:
        """Depth in metres from scores."""
        return depth_of_scores(scores, self.centres, dim=1)[:, None]
