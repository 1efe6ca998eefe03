"""Artefacts of patch tokens: tokens of unusual length, and patterns that lie at the same place in every image.

* Long tokens (Vision transformers need registers, arXiv 2309.16588): DINOv2-g has 2.4 % above a length of 150. That
  threshold holds for one network; here a token is long beyond the median by six robust deviations (see
  `metrics/token_lengths.py`), and quantiles are reported. Lengths before the final norm tell: the norm hides them.
* Fixed pattern: the part of the variance that the position alone explains, Var over positions of the mean over images,
  over the total variance; without what chance gives to a mean of so few images.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.metrics.token_lengths import long_from

QUANTILES = (0.5, 0.9, 0.99, 1.0)
BEFORE_AND_AFTER = ("before the final norm", "after it")


@dataclass(frozen=True)
class Artefacts:
    """Of all images together.

    Attributes:
        long_share: share of tokens that are long.
        threshold: the length from which on they are.
        quantiles: lengths at `QUANTILES`.
        fixed_pattern: share of the variance that the position explains, in [0, 1]; NaN for fewer than two images.
        lengths: (image, row, column).
        pattern: (row, column), length of the mean over images without the mean over positions.
    """

    long_share: float
    threshold: float
    quantiles: tuple[float, ...]
    fixed_pattern: float
    lengths: np.ndarray
    pattern: np.ndarray

    def numbers(self) -> dict[str, float]:
        """The numbers for a JSON."""
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
    """Artefacts of the patch tokens of images of one size; see the module's text."""
    x = tokens.double()
    lengths = x.norm(dim=-1)  # (image, patch)
    threshold = long_from(lengths)
    found = torch.quantile(lengths.flatten(), torch.tensor(QUANTILES, dtype=torch.float64, device=x.device))
    mean = x.mean(0)  # (patch, channel)
    centred = mean - mean.mean(0)
    return Artefacts(
        long_share=float((lengths > threshold).double().mean()),
        threshold=float(threshold),
        quantiles=tuple(found.tolist()),
        fixed_pattern=_fixed_pattern(x, mean),
        lengths=lengths.unflatten(1, grid).cpu().numpy(),
        pattern=centred.norm(dim=-1).unflatten(0, grid).cpu().numpy(),
    )


def _fixed_pattern(x: Tensor, mean: Tensor) -> float:
    """Variance between positions, without the part that comes from averaging few images, over the total."""
    images, patches = x.shape[:2]
    if images < 2 or patches < 2:
        return float("nan")
    centre = mean.mean(0)
    of_image = x.mean(1, keepdim=True)  # what all tokens of an image share says nothing of positions
    rest = (x - of_image - mean + centre).square().sum() / ((images - 1) * (patches - 1))
    between = (mean - centre).square().sum() / patches - rest * (patches - 1) / (patches * images)
    total = (x - centre).square().sum() / (images * patches)
    return float((between / total).clamp(0.0, 1.0)) if total > 0 else 0.0


@torch.inference_mode()
def artefacts_of(
    encoder: Encoder, images: Iterable[Float[Tensor, "batch 3 row column"]]
) -> dict[str, Artefacts]:
    """Artefacts before and after an encoder's final norm, on ImageNet-normalized images of one size.

    Returns:
        By `before the final norm` and `after it`; the first is missing where an encoder gives no tokens before it.
    """
    named = dict(zip(BEFORE_AND_AFTER, (False, True), strict=True))
    parts: dict[str, list[Tensor]] = {name: [] for name in named}
    grid = (0, 0)
    for batch in images:
        for name, norm in named.items():
            try:
                tokens = encoder(batch, norm=norm)
            except ConfigError:  # a pooled summary comes after the norm
                if norm:
                    raise
                continue
            parts[name].append(tokens.patches.float())
            grid = tokens.grid
    return {name: measure(torch.cat(of), grid) for name, of in parts.items() if of}
