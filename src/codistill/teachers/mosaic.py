"""Pack several images into one of a teacher's fixed size (RADIOv2.5, arXiv 2412.07679).

A canvas of C tokens per side holds n² images of O tokens per side, with n = C // O. Each image lies at the corner of a
tile of C // n tokens per side; the rest is zero. One pass of the teacher on the canvas gives the tokens of all its
images, at C² / n² tokens per image instead of C². Whether the teacher's attention across images does harm was not
published.
"""

from collections.abc import Callable

from torch import Tensor

from codistill.types import Tokens


def in_mosaic(encode: Callable[[Tensor], Tokens], images: Tensor, patch: int, canvas: int) -> Tokens:
    """Compute the patch tokens of images that share canvases; class tokens and registers are dropped.

    Args:
        encode: the teacher's encoder, applied to canvases.
        images: (batch, 3, side, side), with a multiple of `patch` per side. Empty parts of a canvas are zero.
        patch: pixels per token.
        canvas: tokens per side of a canvas; the last canvas may have empty tiles.

    Raises:
        ValueError: if an image is larger than the canvas.
    """
    batch, side = images.shape[0], images.shape[-1] // patch
    per_side = canvas // side
    if per_side < 1:
        raise ValueError(f"images of {side} tokens per side are larger than the canvas of {canvas}")
    tile = canvas // per_side
    places = [(row * tile, column * tile) for row in range(per_side) for column in range(per_side)]
    count = -(-batch // len(places))
    sheets = images.new_zeros(count, 3, canvas * patch, canvas * patch)
    for place, (row, column) in enumerate(places):
        part = images[place :: len(places)]  # sheet s holds images s * n² …
        sheets[
            : len(part), :, row * patch : (row + side) * patch, column * patch : (column + side) * patch
        ] = part
    tokens = encode(sheets)
    maps = tokens.patches.unflatten(1, tokens.grid)  # (sheet, row, column, channel)
    patches = maps.new_empty(batch, side * side, maps.shape[-1])
    for place, (row, column) in enumerate(places):
        wanted = patches[place :: len(places)]
        wanted.copy_(maps[: len(wanted), row : row + side, column : column + side].flatten(1, 2))
    return Tokens(patches, (side, side), normed=tokens.normed)
