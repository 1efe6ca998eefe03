"""Patterns that lie at the same place in every image: tokens in, the variance that the position explains out, by image.

With a_i the tokens of image i without their own mean, images that share nothing but a pattern have the inner product
⟨a_i, a_j⟩ = its squared length. So the mean over pairs of different images is what the position explains, without bias,
however few images there are; it equals the variance of the mean over images without what chance gives to such a mean
(two-way analysis of variance). Images of one group (views of a scene, frames) share more than a pattern: their pairs do
not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codistill.metrics.interval import group_numbers


@dataclass(frozen=True)
class PatternParts:
    """Numbers of every image whose means have the share as their ratio; squared units of a token, fp64.

    Attributes:
        explained: variance that the position explains: twice what this image brings into the mean over pairs, less that
            mean (a jackknife's pseudo-values). Their own mean is the mean over pairs, and resampling them gives it the
            spread that new images would. NaN where no two images are of different groups, or there is one patch.
        total: variance of all tokens about the mean of all.
    """

    explained: Float[Tensor, " image"]
    total: Float[Tensor, " image"]


def pattern_parts(
    tokens: Float[Tensor, "image patch channel"], groups: Sequence[str] | None = None
) -> PatternParts:
    """The parts of a share; see the module's text.

    Args:
        tokens: of images of one size.
        groups: of the images; None: each its own.
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
    """Without each image's own mean, in fp64."""
    wide = tokens.double()
    return wide - wide.mean(-2, keepdim=True)
