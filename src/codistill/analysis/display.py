"""Display `Tokens` (principal components as colours) and a `Batch` (pictures and where they come from) in notebooks.

It also has the parts from which other displays are built: pictures as data URIs, in a row, with captions.
"""

import base64
import html
import io
from collections.abc import Callable, Iterable
from itertools import repeat

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from codistill.analysis.pca import fit_pca
from codistill.imaging.normalize import unnormalized
from codistill.types import Batch, Tokens

SHOWN = 8
"""Largest number of images of a batch that are drawn."""
HEIGHT = 160
"""Height of a picture on the screen, in pixels."""

Legend = Callable[[int], np.ndarray | None]
"""Draws the legend of a picture's colours at a width in pixels; None: the colours need none."""


def tokens_html(tokens: Tokens) -> str:
    """Draw tokens as a row of pictures with common PCA axes, and a line of text.

    With fewer than three channels, or fewer than four tokens in all, only the line is returned. If values are not
    finite, nothing is drawn, and the line says so.
    """
    patches = tokens.patches.detach()[:SHOWN].float().cpu()
    line = f"<code>{html.escape(repr(tokens))}</code>"
    if patches.shape[-1] < 3 or patches.shape[0] * patches.shape[1] < 4:
        return line
    if not torch.isfinite(patches).all():
        return f"{line}<br>not drawn: some values are not finite"
    colours = fit_pca([patches]).colours(patches) * 255
    pictures = colours.round().to(torch.uint8).reshape(len(patches), *tokens.grid, 3)
    images = "".join(f'<img src="{_lossless(one.numpy())}" style="{_STYLE}">' for one in pictures)
    return f"<div>{images}</div>{line}{_more(len(tokens))}"


def batch_html(batch: Batch) -> str:
    """Draw a row of the batch's images with source, name and domain below, and a line with the tensor's shape.

    Values that are not finite are drawn black, and the line says so.
    """
    images = batch.images.detach()[:SHOWN].float().cpu()
    finite = bool(torch.isfinite(images).all())
    pixels = (unnormalized(images.nan_to_num(0.0, 0.0, 0.0)) * 255).round().to(torch.uint8)
    pixels[~torch.isfinite(images).all(1, keepdim=True).expand_as(pixels)] = 0
    pictures = zip(
        (one.permute(1, 2, 0).numpy() for one in pixels),
        (f"{s}: {n} ({d})" for s, n, d in zip(batch.sources, batch.names, batch.domains, strict=True)),
        repeat(no_legend),
        strict=False,
    )
    kind = f"{str(batch.images.dtype).removeprefix('torch.')}, {batch.images.device}"
    line = f"<code>Batch(images={tuple(batch.images.shape)}, {html.escape(kind)})</code>"
    if batch.bad:
        line += f" · {len(batch.bad)} images could not be used and were replaced"
    if not finite:
        line += " · some values are not finite: black"
    return f"{picture_row(pictures)}{line}{_more(len(batch))}"


def picture_row(
    pictures: Iterable[tuple[UInt8[np.ndarray, "row column 3"], str, Legend]], height: int = HEIGHT
) -> str:
    """Draw pictures side by side, each with its legend and its caption below.

    Files are small: pictures are JPEG, shrunk to twice the height.
    """
    cells = "".join(
        f'<figure style="display: inline-block; margin: 0 6px 6px 0; vertical-align: top">'
        f'<img src="{_photograph(pixels, 2 * height)}" style="height: {height}px">'
        f"{_legend_below(legend, _width(pixels, height))}"
        f'<figcaption style="font-size: 80%; max-width: {_width(pixels, height)}px; overflow-wrap: anywhere">'
        f"{html.escape(caption)}</figcaption></figure>"
        for pixels, caption, legend in pictures
    )
    return f"<div>{cells}</div>"


def no_legend(width: int) -> None:
    """The `Legend` of photographs."""


def png_uri(data: bytes) -> str:
    """A PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


_STYLE = f"height: {HEIGHT}px; image-rendering: pixelated; margin-right: 4px"


def _legend_below(legend: Legend, width: int) -> str:
    pixels = legend(width)
    return "" if pixels is None else f'<img src="{_lossless(pixels)}" style="display: block">'


def _more(count: int) -> str:
    return "" if count <= SHOWN else f" · the first {SHOWN} of {count}"


def _width(pixels: np.ndarray, height: int) -> int:
    return max(60, round(pixels.shape[1] * height / pixels.shape[0]))


def _lossless(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return png_uri(file.getvalue())


def _photograph(pixels: np.ndarray, largest: int) -> str:
    """A JPEG as a data URI, at most `largest` pixels high."""
    image, file = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if image.height > largest:
        image = image.resize((max(1, round(image.width * largest / image.height)), largest))
    image.save(file, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
