"""What a notebook shows of `Tokens`: their first three principal components as colours, and their shapes."""

import base64
import html
import io

import torch
from PIL import Image

from codistill.analysis.pca import fit_pca
from codistill.types import Tokens

SHOWN = 8
"""Images of a batch that are drawn."""
HEIGHT = 160
"""Of a picture, in pixels of the screen."""


def tokens_html(tokens: Tokens) -> str:
    """A row of pictures on common axes, and a line; the line alone where there are no axes to find.

    Tokens of fewer than three channels, or that are not finite, are not drawn, and the line says so.
    """
    patches = tokens.patches.detach()[:SHOWN].float().cpu()
    line = f"<code>{html.escape(repr(tokens))}</code>"
    if patches.shape[-1] < 3 or patches.shape[0] * patches.shape[1] < 4:
        return line
    if not torch.isfinite(patches).all():
        return f"{line}<br>not drawn: some values are not finite"
    colours = fit_pca([patches]).colours(patches) * 255
    pictures = colours.round().to(torch.uint8).reshape(len(patches), *tokens.grid, 3)
    images = "".join(f'<img src="{_uri(one)}" style="{_STYLE}">' for one in pictures)
    more = "" if len(tokens) <= SHOWN else f" · the first {SHOWN} of {len(tokens)}"
    return f"<div>{images}</div>{line}{more}"


_STYLE = f"height: {HEIGHT}px; image-rendering: pixelated; margin-right: 4px"


def _uri(pixels: torch.Tensor) -> str:
    """A PNG as the address of an image, from (row, column, 3) bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
