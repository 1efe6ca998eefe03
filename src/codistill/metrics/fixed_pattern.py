"""Fixed patterns: per image, the variance of the tokens that the position in the image explains.

Let a_i be the tokens of image i minus their mean over the image. If images share nothing but a pattern, the inner
product ⟨a_i, a_j⟩ of two of them is, in expectation, the squared length of the pattern. So the mean over pairs of
different images estimates what the position explains, without bias for any number of images. It equals the variance of
the mean image, less the share that noise contributes to such a mean (two-way analysis of variance). Images of one group
(views of a scene, frames) share more than a pattern; pairs of them are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.metrics.interval import group_numbers


@dataclass(frozen=True)
class PatternParts:
    """Numbers of every image, such that the ratio of their means is the share; squared units of a token, fp64.

    Attributes:
        explained: variance that the position explains, as jackknife pseudo-values: twice the image's contribution to
            the mean over pairs, minus that mean. Their mean is the mean over pairs, and resampling them gives it the
            spread that new images would. NaN if no two images are of different groups, or if there is only one patch.
        total: variance of all tokens about the mean of all tokens.
    """

    explained: Float[Tensor, " image"]
    total: Float[Tensor, " image"]


def pattern_parts(
    tokens: Float[Tensor, "image patch channel"], groups: Sequence[str] | None = None
) -> PatternParts:
    """Compute numerator and denominator of the share for every image; see the module's text.

    Args:
        tokens: tokens of images of one size.
        groups: group of each image; None: each image is its own group.
    """
    images, patches = tokens.shape[:2]
    numbers, count = group_numbers(groups, images)
    of_group = torch.from_numpy(numbers).to(tokens.device)
    members = [torch.nonzero(of_group == number)[:, 0] for number in range(count)]
    centre = torch.stack([one.double().mean(0) for one in tokens]).mean(0)  # (channel)
    total = torch.stack([(one.double() - centre).square().sum() / patches for one in tokens])
    everything = torch.zeros(patches, tokens.shape[2], dtype=torch.float64, device=tokens.device)
    for one in tokens:
        everything += _centred(one)
    products, partners = torch.zeros_like(total), torch.zeros_like(total)
    for rows in members:
        own = _centred(tokens[rows])  # (member, patch, channel)
        products[rows] = torch.einsum("ipc,pc->i", own, everything - own.sum(0)) / patches
        partners[rows] = float(images - len(rows))
    pairs = partners.sum()
    if pairs == 0 or patches < 2:
        return PatternParts(torch.full_like(total, float("nan")), total)
    mean = products.sum() / pairs
    return PatternParts(mean + 2.0 * images * (products - mean * partners) / pairs, total)


def _centred(tokens: Tensor) -> Tensor:
    """Tokens minus the mean of their image, in fp64."""
    wide = tokens.double()
    return wide - wide.mean(-2, keepdim=True)
