"""A frozen encoder alone as the model of a task: feature maps of images of any size, and features at pixels."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from codistill.errors import ConfigError
from codistill.imaging import resize_rgb
from codistill.imaging.normalize import normalized
from codistill.tasks.shared.features import FrozenFeatures, center_padding
from codistill.tasks.task import Subject

_KEPT = 1 << 29
"""Bytes of feature maps in the cache (least recently used out first): each image occurs in many pairs of a data set."""


class DenseFeatures:
    """Dense features of a frozen encoder; tokens of several blocks are concatenated along the channels."""

    def __init__(self, features: FrozenFeatures) -> None:
        self.features, self.device = features, torch.device("cpu")
        self._kept: OrderedDict[str, tuple[Tensor, int]] = OrderedDict()

    def to(self, device: torch.device | str) -> "DenseFeatures":
        self.device = torch.device(device)
        self.features.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        return {"encoder": self.features.describe()}

    @torch.inference_mode()
    def map_of(
        self, image: UInt8[np.ndarray, "row column 3"]
    ) -> Float[Tensor, "channel token_row token_column"]:
        """Feature map of an image with centre padding; fp32, since the ratio test compares small distances."""
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None].to(self.device)
        levels = self.features.finite(normalized(pixels))
        return torch.cat([tokens.feature_map() for tokens in levels], dim=1)[0]

    def kept_map(self, name: str, read: Callable[[], tuple[np.ndarray, int]]) -> tuple[Tensor, int]:
        """As `map_of`, but cached by image name. On a miss, `read` returns the image and a number to cache with it."""
        if name not in self._kept:
            image, number = read()
            self._kept[name] = (self.map_of(image), number)
            while len(self._kept) > 2 and sum(one.nbytes for one, _ in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]

    def at_pixels(
        self, image: UInt8[np.ndarray, "row column 3"], size: tuple[int, int], pixels: Int[Tensor, "pixel 2"]
    ) -> Float[Tensor, "pixel channel"]:
        """Features at pixels, interpolated bicubically in the feature map of the padded image.

        Args:
            image: the image at its original size.
            size: rows and columns to which the image is resized.
            pixels: (x, y) in the original image.
        """
        features = self.map_of(resize_rgb(image, size))
        left, _, top, _ = center_padding(size, self.features.patch_size)
        scale = torch.tensor(size[::-1]) / torch.tensor(image.shape[1::-1])
        seen = (pixels + 0.5) * scale + torch.tensor([left, top])  # from the corner of the padded image
        extent = torch.tensor(features.shape[:0:-1]) * self.features.patch_size
        grid = (2.0 * seen / extent - 1.0)[None, None].to(features.device)
        found = grid_sample(features[None], grid, mode="bicubic", padding_mode="border", align_corners=False)
        return found[0, :, 0].T


def load_features(subject: Subject, test: object, data: object) -> DenseFeatures:
    """Load the encoder that a subject names.

    Raises:
        ConfigError: if the subject names no encoder, or a head (tasks of an encoder alone take none).
    """
    if subject.head is not None or subject.model is not None:
        raise ConfigError(
            f"{subject.head or subject.model}: this task takes no head, the features are the encoder's own. Name the "
            "encoder: --encoder E"
        )
    if subject.features is None:
        raise ConfigError(
            "which encoder? add --encoder E: a file, a run, an export, a known name, baseline:colour"
        )
    return DenseFeatures(FrozenFeatures(subject.features, subject.source))
