"""Interface of a bank whose teachers summarize patches that a student predicted."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Pools(Protocol):
    """A bank whose teachers can pool patches that are not their own."""

    def pool(self, name: str, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """A teacher's summary (batch, channel) of patches (batch, patch, channel) in its own space."""
        ...
