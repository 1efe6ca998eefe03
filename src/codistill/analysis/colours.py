"""Show the tokens of several encoders on the same images as colour maps that can be compared."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from codistill.analysis.pca import PcaBasis, align_axes, fit_pca
from codistill.types import Tokens


def colour_columns(
    per_encoder: Sequence[Sequence[Tokens]], *, separate: bool = False, shared_basis: bool = False
) -> list[list[np.ndarray]]:
    """Make a colour map (row, column, 3) for each encoder and image, floats in [0, 1].

    Args:
        per_encoder: for each encoder, the tokens of every image (a batch of one each).
        separate: fit one basis for each image, instead of one for all images of an encoder.
        shared_basis: encoders that are as wide as the first one are coloured with the first one's basis, so that equal
            colours mean equal features. Other encoders have their own basis, with axes ordered and signed to follow the
            first encoder's colours.
    """
    columns: list[list[Tensor]] = []
    first_bases: list[PcaBasis] = []
    for tokens in per_encoder:
        groups = [[t] for t in tokens] if separate else [list(tokens)]
        shared = (
            shared_basis and columns and tokens[0].patches.shape[-1] == per_encoder[0][0].patches.shape[-1]
        )
        maps: list[Tensor] = []
        for index, group in enumerate(groups):
            if shared:
                basis = first_bases[index]
            else:
                reference = columns[0][len(maps) : len(maps) + len(group)] if columns else []
                basis = _own_basis(group, reference)
            if not columns:
                first_bases.append(basis)
            maps += [basis.colours(t.patches[0]).view(*t.grid, 3) for t in group]
        columns.append(maps)
    return [[colours.numpy() for colours in maps] for maps in columns]


def _own_basis(group: Sequence[Tokens], reference: Sequence[Tensor]) -> PcaBasis:
    """Fit the basis of a group of images. Its axes follow the reference colours if the grids agree."""
    basis = fit_pca(t.patches for t in group)
    if not reference or any(t.grid != tuple(r.shape[:2]) for t, r in zip(group, reference, strict=True)):
        return basis
    tokens = torch.cat([t.patches[0] for t in group])
    return align_axes(basis, tokens, torch.cat([r.reshape(-1, 3) for r in reference]))
