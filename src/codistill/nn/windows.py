"""Windowed attention for large images (ViTDet, arXiv 2203.16527; RADIOv2.5, arXiv 2412.07679).

Patches attend to the patches of their window, and to the prefix tokens (class token, registers). Every window has a
copy of the prefix tokens; the copies are averaged afterwards. An axis is divided into as few parts as the maximal
window side allows, whose lengths differ by at most one token, so that nothing is padded. The cost of attention grows
with patches x patches per window instead of patches².
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from codistill.nn.rope import RopeTables

Span = tuple[int, int]
"""First row or column of a window, and the one after its last (a half-open range)."""


def spans(length: int, side: int) -> list[Span]:
    """Divide an axis into parts of at most `side`, whose lengths differ by at most one."""
    parts = -(-length // side)
    edges = [length * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def global_blocks(depth: int, count: int) -> frozenset[int]:
    """The 0-based blocks that see the whole image: the last block of each of `count` equal parts of the depth."""
    return frozenset(-(-depth * (part + 1) // count) - 1 for part in range(count))


def in_windows(
    block: Callable[[Tensor, RopeTables | None], Tensor],
    x: Tensor,
    grid: tuple[int, int],
    side: int,
    rope_of: Callable[[tuple[int, int]], RopeTables | None],
) -> Tensor:
    """Apply a block to each window of a grid.

    Args:
        block: maps (batch, token, channel) to the same shape; its tokens are the prefix, then patches.
        x: (batch, token, channel): the prefix tokens, then the patches of the grid, row-major.
        grid: rows and columns.
        side: maximal number of tokens per window side.
        rope_of: gives the RoPE tables of a window with some rows and columns. Attention depends only on differences of
            positions, so that positions within the window can replace those in the image.
    """
    prefix = x.shape[1] - grid[0] * grid[1]
    head, patches = x[:, :prefix], x[:, prefix:].unflatten(1, grid)  # (batch, row, column, channel)
    rows, columns = spans(grid[0], side), spans(grid[1], side)
    shapes: dict[
        tuple[int, int], list[tuple[int, int]]
    ] = {}  # windows by their shape; there are at most four shapes
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            shapes.setdefault((row[1] - row[0], column[1] - column[0]), []).append((i, j))
    found: dict[tuple[int, int], Tensor] = {}
    heads: list[Tensor] = []
    for shape, places in shapes.items():
        cut = torch.stack(
            [_window(patches, rows[i], columns[j]) for i, j in places]
        )  # (window, batch, patch, c)
        copies = head.expand(len(places), *head.shape)
        out = block(torch.cat((copies, cut), dim=2).flatten(0, 1), rope_of(shape))
        out = out.unflatten(0, (len(places), -1))  # (window, batch, token, channel)
        heads.append(out[:, :, :prefix].sum(0))
        found |= {place: out[n, :, prefix:].unflatten(1, shape) for n, place in enumerate(places)}
    mean = _total(heads) / (len(rows) * len(columns))
    lines = [torch.cat([found[i, j] for j in range(len(columns))], dim=2) for i in range(len(rows))]
    return torch.cat((mean, torch.cat(lines, dim=1).flatten(1, 2)), dim=1)


def _window(patches: Tensor, rows: Span, columns: Span) -> Tensor:
    return patches[:, rows[0] : rows[1], columns[0] : columns[1]].flatten(1, 2)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum(0)
