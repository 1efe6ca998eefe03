"""An encoder with a two-view head: from pairs of images to predictions.

Every image is encoded once, also for symmetrized pairs; both views are encoded in one pass if their shapes agree. A
frozen encoder gets no gradient and stays in evaluation mode.
"""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError
from codistill.heads.two_view.frozen import as_fast_as
from codistill.heads.two_view.load import read_two_view
from codistill.heads.two_view.network import TwoViewHead, ViewPrediction, both_orders
from codistill.heads.with_encoder import EncoderWithHead
from codistill.types import Tokens
from codistill.weights.known import find_known
from codistill.weights.read import read_checkpoint

Images = Float[Tensor, "batch 3 row column"]
OtherImages = Float[Tensor, "batch 3 other_row other_column"]


class TwoViewModel(EncoderWithHead[TwoViewHead]):
    """An encoder and a `TwoViewHead` that fits it."""

    kind = "two-view"

    def encode_pair(self, images1: Images, images2: OtherImages) -> tuple[Tokens, Tokens]:
        """Encode both views; in one pass if the shapes agree."""
        if images1.shape != images2.shape:
            return self.encode(images1), self.encode(images2)
        both = self.encode(torch.cat((images1, images2)))
        count = images1.shape[0]
        first, second = both.patches[:count], both.patches[count:]
        return Tokens(first, both.grid, normed=both.normed), Tokens(second, both.grid, normed=both.normed)

    def forward(
        self,
        images1: Images,
        images2: OtherImages,
        *,
        symmetrize: bool = False,
        pixels: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """Predictions for both views, all points in the first camera's frame.

        Args:
            images1, images2: ImageNet-normalized (batch, 3, row, column), the same number of each; shapes may differ,
                sides are multiples of the patch size.
            symmetrize: also predict the pairs in the other order, after all pairs in this order; needs equal shapes.
            pixels: pixels of the predicted views at which descriptors are computed; see `TwoViewHead`.
        """
        views = self.encode_pair(images1, images2)
        return self.head(*(both_orders(*views) if symmetrize else views), pixels)


def load_two_view(
    path: str | Path, *, encoder: str | Path | Encoder | None = None, precision: str | None = None
) -> TwoViewModel:
    """Load a released MASt3R, DUSt3R or DUNE-MASt3R file as a model in evaluation mode, on the CPU.

    Args:
        path: the file.
        encoder: as for `load_encoder`; None: the encoder in the file (MASt3R, DUSt3R), or the known weights that the
            file names (DUNE-MASt3R).
        precision: precision of encoder and decoder, as for `load_encoder`; what follows the decoder is fp32.

    Raises:
        CheckpointError: if the file cannot be read, or names an unknown encoder.
        ConfigError: if the encoder does not fit.
    """
    weights = read_two_view(path, read_checkpoint(path))
    if encoder is None and weights.layout == "dune-mast3r":
        encoder = re.sub(r"(_paper)?_encoder$", "", weights.encoder or "")
        if find_known(encoder) is None:
            raise CheckpointError(
                f"{path}: holds a decoder only, made for the encoder {weights.encoder!r}, which is not among the "
                "known weights. Say where it is: encoder=PATH."
            )
    found = load_encoder(path if encoder is None else encoder, precision=precision)
    return TwoViewModel(found, as_fast_as(found, weights.build())).eval()
