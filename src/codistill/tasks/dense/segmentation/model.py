"""Segment images with a fitted head: test-time resizing, sliding windows, several scales, then the original size.

Takes uint8 images, gives class scores and classes per pixel. Source: the test pipeline of mmsegmentation 0.x.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from codistill.errors import ConfigError
from codistill.heads.linear.released import read_head_of
from codistill.heads.linear.segmentation import SegmentationHead
from codistill.tasks.dense.load import DenseAnswer, DenseModel, load_dense, refuse_kind
from codistill.tasks.dense.objective import feature_maps
from codistill.tasks.dense.resizing import resized
from codistill.tasks.dense.segmentation.data import (
    PROTOCOLS,
    RELEASED,
    SegmentationData,
    SegmentationProtocol,
)
from codistill.tasks.dense.segmentation.views import keep_ratio, resize_image
from codistill.tasks.dense.sliding import slide
from codistill.tasks.dense.upsampling import check_upsampling, guided
from codistill.tasks.task import Subject
from codistill.types import Tokens


@dataclass(frozen=True, kw_only=True)
class SegmentationTest:
    """How images are segmented in a test.

    Attributes:
        scales: factors on the protocol's scale over which scores are averaged; DINOv2's "+ms": 1 1.32 1.73 2.28 3.
        mirror: also average with the prediction for the mirrored image.
        upsample: how scores of tokens become scores of pixels: `bilinear`, or `jbu`, guided by edges in the image (see
            `nn/jbu.py`).
    """

    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    upsample: Literal["bilinear", "jbu"] = "bilinear"

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ConfigError(f"scales must be positive numbers; got {self.scales}")
        check_upsampling(self.upsample)


@dataclass(frozen=True, kw_only=True)
class ReleasedOn:
    """What a released head file does not record.

    Attributes:
        kind: layout that a released .pth head was fitted on (the file does not record it).
    """

    kind: Literal["ade20k", "cityscapes", "nyuv2", "scannet"] | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentationOutput(SegmentationTest, ReleasedOn):
    """How a user's own images are segmented; see `SegmentationTest`.

    Attributes:
        plain: write colours only, without image and legend.
        kind: layout that a released .pth head was fitted on (the file does not record it).
    """

    plain: bool = False


@dataclass
class Segmenter(DenseModel[SegmentationHead, SegmentationProtocol]):
    """An encoder with a segmentation head; see `DenseModel`.

    Attributes:
        classes: names of the classes, by number.
        test: see `SegmentationTest`.
    """

    gives = DenseAnswer(name="logits", channels=None, meaning="scores of the classes, before a softmax")

    classes: tuple[str, ...]
    test: SegmentationTest = field(default_factory=SegmentationTest)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "mode": self.protocol.mode}

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
            scores = self._scores(image, self.test.scales[0])[
                0
            ]  # nothing to average: this needs half the memory
        else:
            scores = self.probabilities(image)
        return scores.argmax(0).to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def _scores(self, image: np.ndarray, scale: float) -> Tensor:
        """Logits (1, or 2 with the mirrored image, class, row, column) at the image's original size."""
        protocol = self.protocol
        size = keep_ratio(image.shape, (int(protocol.scale[0] * scale), int(protocol.scale[1] * scale)))
        seen = self.seen(resize_image(image, size), self.test.mirror)
        with self.autocast():
            if protocol.mode == "slide":
                logits = slide(seen, self._logits, protocol.crop, protocol.stride)
            else:
                logits = self._logits(seen)
        return resized(logits.float(), image.shape[:2])

    def _logits(self, images: Tensor) -> Tensor:
        """Class scores at the resolution of `images`, resized from the token map."""
        levels, size = self.features.finite(images), (images.shape[-2], images.shape[-1])
        if self.test.upsample == "bilinear":
            return self.answer(levels, size)
        fine = guided(self.head(feature_maps(levels)), images, self.features)
        return resized(fine, size)

    def answer(
        self, levels: Sequence[Tokens], size: tuple[int, int]
    ) -> Float[Tensor, "batch class row column"]:
        """Logits."""
        logits = self.head(feature_maps(levels))
        return resized(logits, size)


def load_segmenter(
    subject: Subject, test: SegmentationTest | ReleasedOn | None = None, data: SegmentationData | None = None
) -> Segmenter:
    """Load a fitted or released head with its encoder.

    Args:
        subject: head and encoder, as named by the user.
        data: the data to score; it gives the protocol and the classes of a released head.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if the encoder does not fit the head, or the data has other classes.
    """
    released, classes = (data.protocol, data.classes) if data is not None else (None, ())
    kind = test.kind if isinstance(test, ReleasedOn) else None
    if kind is not None:
        refuse_kind(subject)
        released, classes = PROTOCOLS[kind], RELEASED[kind]
    found = load_dense(
        subject,
        "segmentation",
        SegmentationProtocol,
        lambda path, _: read_head_of(SegmentationHead, path),
        released=released,
    )
    if found.record is not None:
        classes = found.record.data.classes
    known = found.network.config.num_classes
    if len(classes) != known or (data is not None and data.classes != classes):
        named = data.classes if data is not None else classes
        raise ConfigError(
            f"{subject.head} knows {known} classes ({', '.join(classes[:3])} …), "
            f"{data.spec if data is not None else kind} has {len(named)} ({', '.join(named[:3])} …): fit a head "
            "for this data set"
        )
    how = test if isinstance(test, SegmentationTest) else SegmentationTest()
    return Segmenter(found.features, found.network, found.protocol, classes, how)
