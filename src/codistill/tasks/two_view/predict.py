"""A two-view model together with its image preparation: from images to encoded views and predicted pairs.

Images may have any size. Each is resized to the network's longer side and whole patches (`geometry.cameras.ImageFit`);
results refer to pixels of the original images.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from codistill.geometry.cameras import ImageFit, fit_long_edge
from codistill.heads.two_view.model import TwoViewModel
from codistill.imaging import resize_rgb
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.two_view.decode import EncodedView, PairDecoder, PairPrediction
from codistill.tasks.two_view.head import OpenedTwoView


class TwoViewPredictor(PairDecoder):
    """A two-view model together with its image preparation.

    Args:
        opened: from `head.open_two_view`.
        subsample, border: see `PairDecoder`.
        long_edge: length of the longer side in pixels, instead of the model's own.
    """

    def __init__(
        self, opened: OpenedTwoView, *, subsample: int = 8, border: int = 3, long_edge: int | None = None
    ) -> None:
        super().__init__(opened.model.head, subsample=subsample, border=border)
        self.model: TwoViewModel = opened.model
        self.about = opened.about
        self.long_edge, self.square_ok = long_edge or opened.long_edge, opened.square_ok

    def to(self, device: torch.device | str) -> "TwoViewPredictor":
        self.model.to(device)
        return self

    def describe(self) -> dict[str, Any]:
        return {**self.about, "long_edge": self.long_edge}

    def fit(self, rows: int, columns: int) -> ImageFit:
        """How an image is resized and cropped for the network.

        Raises:
            DataError: for an image whose short side is below one patch.
        """
        patch = self.model.encoder.spec.patch_size
        return fit_long_edge(rows, columns, self.long_edge, patch, square_ok=self.square_ok)

    def prepare(self, image: UInt8[np.ndarray, "row column 3"]) -> tuple[Tensor, ImageFit]:
        """Resize, crop and normalize an image: (1, 3, row, column) on the device, and how it was fitted."""
        fit = self.fit(*image.shape[:2])
        rows, columns = fit.cropped
        window = resize_rgb(image, fit.resized)[fit.top : fit.top + rows, fit.left : fit.left + columns]
        return normalized(torch.from_numpy(np.ascontiguousarray(window))[None].to(self.device)), fit

    @torch.inference_mode()
    def encode(self, image: UInt8[np.ndarray, "row column 3"]) -> EncodedView:
        """Encode an image to tokens."""
        pixels, fit = self.prepare(image)
        with autocast(self.device):
            return EncodedView(self.model.encode(pixels), fit)

    @torch.inference_mode()
    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> PairPrediction:
        """Predict a pair of uint8 images; each is encoded once, and both in one pass if their shapes agree."""
        (pixels_a, fit_a), (pixels_b, fit_b) = self.prepare(image_a), self.prepare(image_b)
        with autocast(self.device):
            tokens_a, tokens_b = self.model.encode_pair(pixels_a, pixels_b)
        return self.pair(EncodedView(tokens_a, fit_a), EncodedView(tokens_b, fit_b))
