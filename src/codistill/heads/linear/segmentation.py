"""The linear segmentation head: from a map of frozen features to class scores at the map's own resolution.

Batch norm, then a 1x1 convolution; the caller resizes scores bilinearly to the labels. Keys are those of DINOv2's
released heads without their `decode_head.` prefix: `bn.*`, `conv_seg.*`.

Source: DINOv2 (arXiv 2304.07193), "linear" segmentation evaluation.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.nn.precision import full_precision

INIT_STD = 0.01


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig:
    """Architecture of a `SegmentationHead`.

    Attributes:
        channels: channels of the feature map: token width times the number of levels.
        num_classes: number of class scores per position.
    """

    channels: int
    num_classes: int

    def __post_init__(self) -> None:
        if self.channels < 1 or not 2 <= self.num_classes <= 255:
            raise ConfigError(
                "a segmentation head needs channels >= 1 and 2 to 255 classes (255 marks ignored pixels); "
                f"got {self.channels} and {self.num_classes}"
            )


class SegmentationHead(nn.Module):
    """The segmentation head of the module's text. It computes in fp32 under any autocast, for batch statistics."""

    def __init__(self, config: SegmentationHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.bn = nn.BatchNorm2d(config.channels)
        self.conv_seg = nn.Conv2d(config.channels, config.num_classes, kernel_size=1)
        nn.init.normal_(self.conv_seg.weight, std=INIT_STD)
        nn.init.zeros_(self.conv_seg.bias)  # type: ignore[arg-type]

    def forward(
        self, features: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch class row column"]:
        """Class scores (logits) per token."""
        with full_precision(features):
            return self.conv_seg(self.bn(features.float()))
