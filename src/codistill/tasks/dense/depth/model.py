"""Predict depth with a fitted head: the whole image at once, averaged with the prediction for its mirror image.

Takes uint8 images, gives metres per pixel. Source: DINOv2's depth evaluation (flip averaging, clamped to the head's
range).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.heads.linear.depth import UPSAMPLING, DepthHead, depth_input
from codistill.heads.linear.released import read_head_of
from codistill.tasks.dense.depth.data import PROTOCOLS, DepthData, DepthProtocol
from codistill.tasks.dense.depth.views import resize_pair
from codistill.tasks.dense.load import DenseAnswer, DenseModel, load_dense, refuse_kind
from codistill.tasks.dense.upsampling import check_upsampling, guided
from codistill.tasks.task import Subject
from codistill.types import Tokens


@dataclass(frozen=True, kw_only=True)
class DepthTest:
    """How depth is predicted in a test.

    Attributes:
        mirror: average with the prediction for the mirrored image.
        upsample: how scores of tokens become scores of pixels: `bilinear`, or `jbu`, guided by edges in the image (see
            `nn/jbu.py`).
    """

    mirror: bool = True
    upsample: Literal["bilinear", "jbu"] = "bilinear"

    def __post_init__(self) -> None:
        check_upsampling(self.upsample)


@dataclass(frozen=True, kw_only=True)
class ReleasedOn:
    """What a released head file does not record.

    Attributes:
        kind: layout that a released .pth head was fitted on (the file does not record it).
    """

    kind: Literal["nyud", "folder"] | None = None


@dataclass(frozen=True, kw_only=True)
class DepthOutput(DepthTest, ReleasedOn):
    """How depth of a user's own images is shown; see `DepthTest`.

    Attributes:
        overlay: lay the colours over the image.
        kind: layout that a released .pth head was fitted on (the file does not record it).
    """

    overlay: bool = False


@dataclass
class DepthEstimator(DenseModel[DepthHead, DepthProtocol]):
    """An encoder with a depth head; see `DenseModel`.

    Attributes:
        mirror: average with the prediction for the mirrored image.
        upsample: see `DepthTest`; `jbu` upsamples scores to the head's own resolution, four times that of the tokens.
    """

    gives = DenseAnswer(name="depth", channels=1, meaning="metres", with_cls=True)

    mirror: bool = True
    upsample: Literal["bilinear", "jbu"] = "bilinear"

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "head_metres": [self.protocol.nearest, self.protocol.farthest]}

    def answer(self, levels: Sequence[Tokens], size: tuple[int, int]) -> Float[Tensor, "batch 1 row column"]:
        """Depth in metres, within the head's range."""
        return self._resized(self.head(depth_input(levels)), size)

    def _resized(self, depth: Tensor, size: tuple[int, int]) -> Tensor:
        depth = depth.float().clamp(self.head.config.nearest, self.head.config.farthest)
        return interpolate(depth, size=size, mode="bilinear", align_corners=False)

    def _depth(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Depth in metres (batch, row, column) of normalized images, resized to `size`."""
        levels = self.features.finite(images)
        if self.upsample == "bilinear":
            return self.answer(levels, size)[:, 0]
        scores = guided(self.head.scores(depth_input(levels)), images, self.features, UPSAMPLING)
        return self._resized(self.head.depth(scores), size)[:, 0]

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "row column 3"]) -> Float[np.ndarray, "row column"]:
        """Depth of every pixel in metres, fp32."""
        resized, _ = resize_pair(image, image[..., 0], self.protocol.resized)
        with self.autocast():
            depth = self._depth(self.seen(resized, self.mirror), (image.shape[0], image.shape[1]))
        if self.mirror:
            depth = (depth[:1] + depth[1:].flip(-1)) / 2
        return depth[0].cpu().numpy()


def load_depth_estimator(
    subject: Subject, test: DepthTest | ReleasedOn | None = None, data: DepthData | None = None
) -> DepthEstimator:
    """Load a fitted or released head with its encoder.

    Args:
        subject: head and encoder, as named by the user.
        data: the data to score; it gives the depth range of a released head.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if the encoder does not fit the head.
    """
    released = data.protocol if data is not None else None
    if isinstance(test, ReleasedOn) and test.kind is not None:
        refuse_kind(subject)
        released = PROTOCOLS[test.kind]
    found = load_dense(
        subject,
        "depth",
        DepthProtocol,
        lambda path, seen: read_head_of(DepthHead, path, nearest=seen.nearest, farthest=seen.farthest),
        with_cls=True,
        released=released,
    )
    how = test if isinstance(test, DepthTest) else DepthTest()
    return DepthEstimator(found.features, found.network, found.protocol, how.mirror, how.upsample)
