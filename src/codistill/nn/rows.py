"""Choosing images of a batch on the device: what sharing asks of teachers and projectors."""

from torch import Tensor

from codistill.types import Tokens

Rows = Tensor | slice | None
"""Which images of a batch: indices on the device, a contiguous range, or None for all."""


def select_rows(x: Tensor, rows: Rows) -> Tensor:
    """Chosen images of a batch; a view where that is possible."""
    if rows is None:
        return x
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


def select_tokens(tokens: Tokens, rows: Rows) -> Tokens:
    """`select_rows` of every part of `Tokens`, registers dropped."""
    if rows is None:
        return tokens
    cls = None if tokens.cls is None else select_rows(tokens.cls, rows)
    patches = select_rows(tokens.patches, rows)
    return Tokens(patches=patches, grid=tokens.grid, cls=cls, normed=tokens.normed)
