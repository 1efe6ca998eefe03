"""Compute descriptors at some pixels only, from hidden tokens and the last layer.

The last layer gives each token the values of all pixels of its patch (`pixel_shuffle` then makes a map of them). A
training step reads a few hundred of the map's ten thousand pixels, so only the rows of the weights for these pixels are
multiplied. Pixels at the same position in their patches share these rows, so a batched product has one entry per
position.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def at_pixels(
    maps: Float[Tensor, "batch row column channel"], pixels: Int[Tensor, "batch match 2"]
) -> Float[Tensor, "batch match channel"]:
    """Values of maps at integer pixels (x, y)."""
    batch = torch.arange(maps.shape[0], device=maps.device)[:, None]  # (batch, 1)
    return maps[batch, pixels[..., 1], pixels[..., 0]]


def values_at(
    hidden: Float[Tensor, "batch patch hidden"],
    last: nn.Linear,
    pixels: Int[Tensor, "batch match 2"],
    columns: int,
    patch: int,
) -> Float[Tensor, "batch match channel"]:
    """Values of the map `pixel_shuffle(last(hidden))` at pixels.

    Args:
        hidden: hidden features of the tokens of a grid, row-major.
        last: the last layer; it gives channel · patch² numbers, all pixels of a channel in sequence.
        pixels: integer (x, y).
        columns: columns of the token grid.
        patch: side of a patch in pixels.
    """
    x, y = pixels.unbind(-1)  # (batch, match)
    token = (y // patch) * columns + x // patch
    place = (y % patch) * patch + x % patch
    if hidden.device.type != "cpu":  # the size of the batched product is only known on the host
        return _of_all(last(hidden), token, place, patch)
    return _by_place(hidden, last, token, place, patch)


def _of_all(values: Tensor, token: Tensor, place: Tensor, patch: int) -> Tensor:
    """Values (batch, match, channel) at chosen pixels, from those of all pixels (batch, patch, channel · patch²)."""
    batch = torch.arange(len(values), device=values.device)[:, None]
    return values.unflatten(2, (-1, patch * patch))[batch, token, :, place]


def _by_place(hidden: Tensor, last: nn.Linear, token: Tensor, place: Tensor, patch: int) -> Tensor:
    count, area = hidden.shape[0] * hidden.shape[1], patch * patch
    row = (token + torch.arange(len(token))[:, None] * hidden.shape[1]).flatten()  # in flattened tokens
    place = place.flatten()
    often = torch.bincount(place, minlength=area)
    most = int(often.max()) if len(place) else 0
    if most >= count:  # as many products as for all pixels, or more
        return _of_all(last(hidden), token, place.view_as(token), patch)
    order = place.argsort(stable=True)
    first = often.cumsum(0) - often  # (area,), index of the first pixel of each position
    ordered = place[order]
    slot = ordered * most + torch.arange(len(order)) - first[ordered]  # (pixel,), in (place, pixel of it)
    rows = row.new_zeros(area * most).index_put((slot,), row[order])  # unused slots read token 0
    chosen = hidden.flatten(0, 1).index_select(0, rows).view(area, most, hidden.shape[2])
    weight = last.weight.unflatten(0, (-1, area)).transpose(0, 1)  # (area, channel, hidden)
    values = torch.bmm(chosen, weight.transpose(1, 2))  # (area, pixel of it, channel)
    if last.bias is not None:
        values = values + last.bias.unflatten(0, (-1, area)).t()[:, None]
    back = torch.empty_like(slot).index_put((order,), slot)
    return values.flatten(0, 1).index_select(0, back).unflatten(0, token.shape)
