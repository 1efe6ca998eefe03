"""Images to classes with a fitted head: test-time resizing, windows, several scales, back to the image's own size.

uint8 images in, class scores and classes per pixel out. Source: the test pipeline of mmsegmentation 0.x.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import from_plain
from codistill.heads.linear.released import read_linear_head
from codistill.heads.linear.segmentation import SegmentationHead
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.dense.segmentation.data import SegmentationProtocol
from codistill.tasks.dense.segmentation.fit import head_input
from codistill.tasks.dense.segmentation.views import keep_ratio, resize_image
from codistill.tasks.dense.sliding import slide
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, HeadRecord, read_record
from codistill.tasks.shared.same_encoder import check_features, say_unknown

MULTI_SCALE = (1.0, 1.32, 1.73, 2.28, 3.0)
"""The scales of DINOv2's "+ms" numbers, with mirroring."""


@dataclass(frozen=True, kw_only=True)
class SegmentationTest:
    """How images are tested.

    Attributes:
        scales: factors on the protocol's scale; scores are averaged over them.
        mirror: average with the mirrored image as well.
    """

    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"scales must be positive numbers; got {self.scales}")


@dataclass
class Segmenter:
    """An encoder with a segmentation head.

    Attributes:
        features, head: on one device, in evaluation mode.
        protocol: of the data set that the head was fitted on.
        classes: names by number.
        test: see `SegmentationTest`.
    """

    features: FrozenFeatures
    head: SegmentationHead
    protocol: SegmentationProtocol
    classes: tuple[str, ...]
    test: SegmentationTest = field(default_factory=SegmentationTest)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.head.parameters()).device

    def to(self, device: torch.device | str) -> "Segmenter":
        """Move it."""
        parts: tuple[nn.Module, nn.Module] = (self.features, self.head)
        for part in parts:
            part.to(device)
        return self

    @torch.inference_mode()
    def probabilities(self, image: UInt8[np.ndarray, "row column 3"]) -> Float[Tensor, "class row column"]:
        """Class probabilities of every pixel, averaged over scales and mirroring, on the device."""
        total: Tensor | None = None
        for scale in self.test.scales:
            scores = self._scores(image, scale).softmax(1)
            scores = (scores[0] + scores[1].flip(-1)) / 2 if self.test.mirror else scores[0]
            total = scores if total is None else total + scores
        assert total is not None
        return total / len(self.test.scales)

    def __call__(self, image: UInt8[np.ndarray, "row column 3"]) -> UInt8[np.ndarray, "row column"]:
        """Class of every pixel."""
        if len(self.test.scales) == 1 and not self.test.mirror:
            scores = self._scores(image, self.test.scales[0])[0]  # nothing to average: half the memory
        else:
            scores = self.probabilities(image)
        return scores.argmax(0).to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def _scores(self, image: np.ndarray, scale: float) -> Tensor:
        """Logits (1, or 2 with the mirrored image, class, row, column) at the image's own size."""
        protocol = self.protocol
        size = keep_ratio(image.shape, (int(protocol.scale[0] * scale), int(protocol.scale[1] * scale)))
        resized = torch.from_numpy(np.ascontiguousarray(resize_image(image, size)))
        seen = normalized(resized[None].to(self.device))
        if self.test.mirror:
            seen = torch.cat((seen, seen.flip(-1)))
        with autocast(self.device):
            if protocol.mode == "slide":
                logits = slide(seen, self._logits, protocol.crop, protocol.stride)
            else:
                logits = self._logits(seen)
        return interpolate(logits.float(), size=image.shape[:2], mode="bilinear", align_corners=False)

    def _logits(self, images: Tensor) -> Tensor:
        """Scores at the images' own resolution: the token map's, resized."""
        logits = self.head(head_input(self.features(images)))
        return interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def load_segmenter(
    head: str | Path,
    *,
    features: FeatureConfig | None = None,
    test: SegmentationTest | None = None,
    protocol: SegmentationProtocol | None = None,
    classes: tuple[str, ...] | None = None,
    other_encoder: bool = False,
) -> Segmenter:
    """A fitted or released head with its encoder.

    Args:
        head: a folder that `codistill fit` wrote, or a released .pth file.
        features: another encoder than the head was fitted on, e.g. a student whose projector leads into the space of
            the head's own encoder. Needed for a released file.
        test: see the class.
        protocol, classes: for a released file, which does not say.
        other_encoder: it may be another one than the head was fitted on; see `shared/same_encoder.py`.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if the encoder does not fit the head.
    """
    path = Path(head).expanduser()
    test = test or SegmentationTest()
    if path.is_file():
        return _released(path, features, test, protocol, classes)
    record = read_record(path, "segmentation")
    network = read_linear_head(path / TENSORS)
    found = _assembled(path, network, features or record.features, _protocol(record), _classes(record), test)
    check_features(path, record, found.features, other_encoder)
    return found


def _released(
    path: Path,
    features: FeatureConfig | None,
    test: SegmentationTest,
    protocol: SegmentationProtocol | None,
    classes: tuple[str, ...] | None,
) -> Segmenter:
    if features is None or protocol is None or classes is None:
        raise ConfigError(
            f"{path}: a released head says neither its encoder nor its classes: add --encoder, and --data or --kind"
        )
    say_unknown(path, features.encoder)
    return _assembled(path, read_linear_head(path), features, protocol, classes, test)


def _assembled(
    path: Path,
    network: Any,
    config: FeatureConfig,
    protocol: SegmentationProtocol,
    classes: tuple[str, ...],
    test: SegmentationTest,
) -> Segmenter:
    if not isinstance(network, SegmentationHead):
        raise CheckpointError(f"{path}: holds a depth head, not one for segmentation")
    features = FrozenFeatures(config)
    channels = features.channels * len(config.blocks)
    if channels != network.config.channels:
        raise ConfigError(
            f"{path} takes features of {network.config.channels} channels; {config.encoder}"
            f"{f' after the projector of {config.projector}' if config.projector else ''} gives {channels}. Use the "
            "encoder that the head was fitted on, or project into its space (--projector TEACHER --denormalize)."
        )
    if len(classes) != network.config.num_classes:
        raise ConfigError(f"{path} knows {network.config.num_classes} classes, the data set {len(classes)}")
    return Segmenter(features, network.eval(), protocol, classes, test)


def _protocol(record: HeadRecord) -> SegmentationProtocol:
    return from_plain(SegmentationProtocol, record.test, "test")


def _classes(record: HeadRecord) -> tuple[str, ...]:
    return tuple(str(name) for name in record.data["classes"])
