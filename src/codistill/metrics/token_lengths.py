"""The length from which on a token counts as unusually long, computed from the lengths of all tokens."""

from torch import Tensor

LONG = 6.0
"""Number of robust standard deviations above the median from which on a token is long."""


def long_from(lengths: Tensor) -> Tensor:
    """Median plus `LONG` times 1.4826 median absolute deviations, of lengths of any shape; a scalar."""
    median = lengths.median()
    return median + LONG * 1.4826 * (lengths - median).abs().median()
