"""Learned embeddings of rows and columns, for people's queries and for the tokens at people's cells.

The tables are made for square grids of one size. For another size they are interpolated. A rectangular grid takes the
middle of the square to which it would be padded, as depth does (`camera.reference_focal`).

Source: Multi-HMR (arXiv 2402.14654), section 3.3.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.nn.tracing import is_symbolic


class CellTables(nn.Module):
    """Four tables (size, channel): row and column embeddings of queries and of context tokens."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.query_rows = nn.Parameter(torch.empty(size, dim))
        self.query_columns = nn.Parameter(torch.empty(size, dim))
        self.value_rows = nn.Parameter(torch.empty(size, dim))
        self.value_columns = nn.Parameter(torch.empty(size, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all entries from a normal distribution with standard deviation 0.2."""
        for table in self.parameters():
            nn.init.normal_(table, std=0.2)

    def queries(self, row: Tensor, column: Tensor, grid: tuple[int, int]) -> Float[Tensor, "person channel"]:
        """Embeddings of people's queries at cells (person,) of a grid."""
        return at_cells(self.query_rows, row, grid[0], grid) + at_cells(
            self.query_columns, column, grid[1], grid
        )

    def values(self, row: Tensor, column: Tensor, grid: tuple[int, int]) -> Float[Tensor, "person channel"]:
        """Embeddings of the tokens at people's cells."""
        return at_cells(self.value_rows, row, grid[0], grid) + at_cells(
            self.value_columns, column, grid[1], grid
        )


def at_cells(table: Tensor, index: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Entries of a table at rows or columns `index` of an axis with `count` cells."""
    longer = max(grid)
    return resize_table(table, longer)[index + (longer - count) // 2]


def resize_table(table: Float[Tensor, "cell channel"], count: int) -> Float[Tensor, "other channel"]:
    """A table linearly interpolated to another number of cells; unchanged for the same number."""
    if not is_symbolic(count) and table.shape[0] == count:
        return table
    return interpolate(table.T[None], size=count, mode="linear", align_corners=False)[0].T
