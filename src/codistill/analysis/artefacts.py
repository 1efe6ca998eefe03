"""Artefacts of patch tokens: tokens of unusual length, and patterns that lie at the same position in every image.

* Long tokens (Vision transformers need registers, arXiv 2309.16588): in DINOv2-g, 2.4 % of the tokens are longer than
  150. That threshold holds only for that network. Here a token counts as long if its length exceeds the median by six
  robust deviations (see `metrics/token_lengths.py`); quantiles are reported too. Lengths are informative before the
  final norm, which hides them.
* Fixed pattern: the part of the variance that is explained by the position alone (`metrics/fixed_pattern.py`).

The task `artefacts` scores both with confidence intervals.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.encoders.states import both_norms
from codistill.metrics.fixed_pattern import pattern_parts
from codistill.metrics.token_lengths import long_from

QUANTILES = (0.5, 0.9, 0.99, 1.0)
BEFORE_AND_AFTER = ("before the final norm", "after it")


@dataclass(frozen=True)
class Artefacts:
    """Artefacts of all images together.

    Attributes:
        long_share: share of tokens that are long.
        threshold: length above which a token counts as long.
        quantiles: lengths at `QUANTILES`.
        fixed_pattern: share of the variance that the position explains, in [0, 1]; NaN for fewer than two images.
        lengths: (image, row, column).
        pattern: (row, column), length of the mean over images, after subtracting the mean over positions.
    """

    long_share: float
    threshold: float
    quantiles: tuple[float, ...]
    fixed_pattern: float
    lengths: np.ndarray
    pattern: np.ndarray

    def numbers(self) -> dict[str, float]:
        """The numbers, for a JSON file."""
        named = {
            f"length at {100 * q:g} %": value for q, value in zip(QUANTILES, self.quantiles, strict=True)
        }
        fixed = {} if np.isnan(self.fixed_pattern) else {"fixed_pattern": round(self.fixed_pattern, 5)}
        rounded = {name: round(value, 4) for name, value in named.items()}
        return {
            "long_share": round(self.long_share, 5),
            "long_from": round(self.threshold, 4),
            **fixed,
            **rounded,
        }


def measure(tokens: Float[Tensor, "image patch channel"], grid: tuple[int, int]) -> Artefacts:
    """Measure the artefacts of patch tokens of images of one size; the module docstring defines them."""
    x = tokens.double()
    lengths = x.norm(dim=-1)  # (image, patch)
    threshold = long_from(lengths)
    found = torch.quantile(lengths.flatten(), torch.tensor(QUANTILES, dtype=torch.float64, device=x.device))
    parts = pattern_parts(tokens)
    total = float(parts.total.mean())
    mean = x.mean(0)  # (patch, channel)
    centred = mean - mean.mean(0)
    return Artefacts(
        long_share=float((lengths > threshold).double().mean()),
        threshold=float(threshold),
        quantiles=tuple(found.tolist()),
        fixed_pattern=float((parts.explained.mean() / total).clamp(0.0, 1.0)) if total > 0 else 0.0,
        lengths=lengths.unflatten(1, grid).cpu().numpy(),
        pattern=centred.norm(dim=-1).unflatten(0, grid).cpu().numpy(),
    )


@torch.inference_mode()
def artefacts_of(
    encoder: Encoder, images: Iterable[Float[Tensor, "batch 3 row column"]]
) -> dict[str, Artefacts]:
    """Measure artefacts before and after an encoder's final norm, on ImageNet-normalized images of one size.

    Returns:
        By `before the final norm` and `after it`; the first is missing if the encoder gives no tokens before its norm.
    """
    names = dict(zip((False, True), BEFORE_AND_AFTER, strict=True))
    parts: dict[str, list[Tensor]] = {name: [] for name in BEFORE_AND_AFTER}
    grid = (0, 0)
    for batch in images:
        for norm, tokens in both_norms(encoder, batch).items():
            parts[names[norm]].append(tokens.patches.float())
            grid = tokens.grid
    return {name: measure(torch.cat(of), grid) for name, of in parts.items() if of}
