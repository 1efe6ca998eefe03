"""Predict surface normals with a fitted head: the whole image at once, with `mirror` also its mirror image.

Takes uint8 images, gives a unit vector per pixel in the camera frame (x right, y down, z forward), towards the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from codistill.heads.linear.normals import NormalsHead, normals_of_scores
from codistill.heads.linear.released import read_head_of
from codistill.tasks.dense.load import DenseAnswer, DenseModel, load_dense
from codistill.tasks.dense.normals.data import NormalsData
from codistill.tasks.dense.objective import feature_maps
from codistill.tasks.dense.protocol import CropProtocol
from codistill.tasks.dense.resizing import resized
from codistill.tasks.dense.upsampling import check_upsampling, guided
from codistill.tasks.dense.views import resize_image
from codistill.tasks.task import Subject
from codistill.types import Tokens


@dataclass(frozen=True, kw_only=True)
class NormalsTest:
    """How normals are predicted in a test.

    Attributes:
        mirror: average with the prediction for the mirrored image (Probe3D does not).
        upsample: how scores of tokens become scores of pixels: `bilinear`, or `jbu`, guided by edges in the image (see
            `nn/jbu.py`).
    """

    mirror: bool = False
    upsample: Literal["bilinear", "jbu"] = "bilinear"

    def __post_init__(self) -> None:
        check_upsampling(self.upsample)


@dataclass
class NormalsEstimator(DenseModel[NormalsHead, CropProtocol]):
    """An encoder with a head for normals; see `DenseModel` and `NormalsTest`."""

    gives = DenseAnswer(
        name="normals",
        channels=3,
        meaning="unit vectors in the camera's frame (x right, y down, z forward), towards the camera",
    )

    mirror: bool = False
    upsample: Literal["bilinear", "jbu"] = "bilinear"

    def answer(self, levels: Sequence[Tokens], size: tuple[int, int]) -> Float[Tensor, "batch 3 row column"]:
        """Unit vectors."""
        return self._normals(self.head(feature_maps(levels)), size)

    def _normals(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Unit vectors (batch, 3, row, column) at a size, from scores of any resolution."""
        scores = resized(scores, size)
        return normals_of_scores(scores.movedim(1, -1))[0].movedim(-1, 1)

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "row column 3"]) -> Float[np.ndarray, "row column 3"]:
        """The normal of every pixel, unit vectors in fp32."""
        small = image if self.protocol.resized is None else resize_image(image, self.protocol.resized)
        with self.autocast():
            images = self.seen(small, self.mirror)
            scores = self.head(feature_maps(self.features.finite(images)))
            if self.upsample == "jbu":
                scores = guided(scores, images, self.features)
            normals = self._normals(scores, (image.shape[0], image.shape[1])).movedim(1, -1)
        if self.mirror:
            mirrored = normals[1:].flip(2) * normals.new_tensor((-1.0, 1.0, 1.0))
            normals = normalize(normals[:1] + mirrored, dim=-1)
        return normals[0].cpu().numpy()


def load_normals(
    subject: Subject, test: NormalsTest | None = None, data: NormalsData | None = None
) -> NormalsEstimator:
    """Load a fitted head with its encoder.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if the encoder does not fit the head.
    """
    found = load_dense(subject, "normals", CropProtocol, lambda path, _: read_head_of(NormalsHead, path))
    how = test or NormalsTest()
    return NormalsEstimator(found.features, found.network, found.protocol, how.mirror, how.upsample)
