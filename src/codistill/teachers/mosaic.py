"""Several images in one of a teacher's fixed size (RADIOv2.5, arXiv 2412.07679): a batch in, tokens of each out.

A canvas of C tokens per side takes n² images of O tokens per side, n = C // O, one at the corner of each tile of C // n
tokens; the rest is zero. One pass of the teacher on the canvas gives the tokens of all of them, at C² / n² tokens an
image in place of C². Whether the teacher's attention across images harms was not published.
"""

from collections.abc import Callable

from torch import Tensor

from codistill.types import Tokens


def in_mosaic(encode: Callable[[Tensor], Tokens], images: Tensor, patch: int, canvas: int) -> Tokens:
    """Patch tokens of images that share canvases; class tokens and registers are dropped.

    Args:
        encode: of the teacher, for canvases.
        images: (batch, 3, side, side), a multiple of `patch` per side; zeros are what a canvas is filled with.
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
