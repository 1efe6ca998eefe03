"""Select images of a batch on the device; teacher sharing needs this for teachers and projectors."""

from torch import Tensor

from codistill.types import Tokens

Rows = Tensor | slice | None
"""Which images of a batch: indices on the device, a contiguous range, or None for all."""


def select_rows(x: Tensor, rows: Rows) -> Tensor:
    """Select images of a batch; the result is a view where possible."""
    if rows is None:
        return x
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


def select_tokens(tokens: Tokens, rows: Rows) -> Tokens:
    """`select_rows` of class tokens and patches, without registers; for None, the same `Tokens`."""
    if rows is None:
        return tokens
    cls = None if tokens.cls is None else select_rows(tokens.cls, rows)
    patches = select_rows(tokens.patches, rows)
    return Tokens(patches=patches, grid=tokens.grid, cls=cls, normed=tokens.normed)
