"""Tokens of unusual length: lengths in, the length from which on a token counts as long."""

from torch import Tensor

LONG = 6.0
"""Robust deviations beyond the median from which on a token is long."""


def long_from(lengths: Tensor) -> Tensor:
    """Median plus `LONG` times 1.4826 median absolute deviations of lengths of any shape; a scalar."""
    median = lengths.median()
    return median + LONG * 1.4826 * (lengths - median).abs().median()
