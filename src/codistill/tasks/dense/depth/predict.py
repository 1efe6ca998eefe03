"""Images to depth with a fitted head: the whole image at once, averaged with its mirror image.

uint8 images in, metres per pixel out. Source: DINOv2's depth evaluation (flip averaging, clamped to the head's range).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import from_plain
from codistill.heads.linear.depth import DepthHead, depth_input
from codistill.heads.linear.released import read_linear_head
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.dense.depth.data import DepthProtocol
from codistill.tasks.dense.depth.views import resize_pair
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, read_record
from codistill.tasks.shared.same_encoder import check_features, say_unknown


@dataclass
class DepthEstimator:
    """An encoder with a depth head.

    Attributes:
        features, head: on one device, in evaluation mode.
        protocol: of the data set that the head was fitted on.
        mirror: average with the mirrored image.
    """

    features: FrozenFeatures
    head: DepthHead
    protocol: DepthProtocol
    mirror: bool = True

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.head.parameters()).device

    def to(self, device: torch.device | str) -> "DepthEstimator":
        """Move it."""
        self.features.to(device)
        self.head.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "row column 3"]) -> Float[np.ndarray, "row column"]:
        """Depth of every pixel in metres, fp32."""
        resized, _ = resize_pair(image, image[..., 0], self.protocol.resized)
        pixels = torch.from_numpy(np.ascontiguousarray(resized))[None].to(self.device)
        seen = normalized(pixels)
        if self.mirror:
            seen = torch.cat((seen, seen.flip(-1)))
        with autocast(self.device):
            depth: Tensor = self.head(depth_input(self.features(seen))).float()
        depth = depth.clamp(self.head.config.nearest, self.head.config.farthest)
        depth = interpolate(depth, size=image.shape[:2], mode="bilinear", align_corners=False)[:, 0]
        if self.mirror:
            depth = (depth[:1] + depth[1:].flip(-1)) / 2
        return depth[0].cpu().numpy()


def load_depth_estimator(
    head: str | Path,
    *,
    features: FeatureConfig | None = None,
    protocol: DepthProtocol | None = None,
    mirror: bool = True,
    other_encoder: bool = False,
) -> DepthEstimator:
    """A fitted or released head with its encoder.

    Args:
        head: a folder that `codistill fit` wrote, or a released .pth file.
        features: another encoder than the head was fitted on. Needed for a released file.
        protocol: for a released file, which does not say; also its depth range.
        mirror: average with the mirrored image.
        other_encoder: it may be another one than the head was fitted on; see `shared/same_encoder.py`.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if the encoder does not fit the head.
    """
    path, record = Path(head).expanduser(), None
    if path.is_file():
        if features is None or protocol is None:
            raise ConfigError(
                f"{path}: a released head does not say its encoder and depth range: add --encoder, and --data or --kind"
            )
        say_unknown(path, features.encoder)
        network = read_linear_head(path, nearest=protocol.nearest, farthest=protocol.farthest)
    else:
        record = read_record(path, "depth")
        protocol = from_plain(DepthProtocol, record.test, "test")
        assert protocol is not None
        network = read_linear_head(path / TENSORS, nearest=protocol.nearest, farthest=protocol.farthest)
        features = features or record.features
    if not isinstance(network, DepthHead):
        raise CheckpointError(f"{path}: holds a segmentation head, not one for depth")
    frozen = FrozenFeatures(features)
    width = (frozen.channels + frozen.cls_channels) * len(features.blocks)
    if width != network.config.channels:
        raise ConfigError(
            f"{path} takes {network.config.channels} channels (patch and class tokens of every level); "
            f"{features.encoder} with blocks {features.blocks} gives {width}. Use the encoder that the head was fitted "
            "on, or name as many blocks (--blocks)."
        )
    if record is not None:
        check_features(path, record, frozen, other_encoder)
    return DepthEstimator(frozen, network.eval(), protocol, mirror)
