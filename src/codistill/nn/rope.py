"""Two-dimensional rotary position embedding (RoPE100 of CroCo / MASt3R), in plain PyTorch.

The head dimension is split into two halves: the first is rotated by the row, the second by the column. In a half
of D channels, channel pairs (i, i + D/2) turn by the angle position / base^(2i/D). Tables are built once per grid.
"""

import torch
from torch import Tensor

from codistill.nn.tracing import cached_unless_exporting

RopeTables = tuple[Tensor, Tensor]
"""Cosines, and sines with the signs of the rotation, each (patch, head_dim)."""


def grid_positions(rows: int, columns: int, device: torch.device | str = "cpu") -> Tensor:
    """Integer position (row, column) of every patch, row-major, (rows * columns, 2)."""
    row = torch.arange(rows, device=device).repeat_interleave(columns)
    column = torch.arange(columns, device=device).repeat(rows)
    return torch.stack((row, column), dim=1)


def rope_tables(positions: Tensor, head_dim: int, base: float = 100.0) -> RopeTables:
    """Tables of cosines and signed sines, each (patch, head_dim), fp32, for integer positions (patch, 2).

    Raises:
        ValueError: if head_dim is not a multiple of 4.
    """
    if head_dim % 4:
        raise ValueError(f"2-D RoPE needs a head dimension that is a multiple of 4; got {head_dim}")
    half = head_dim // 2
    exponent = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
    frequency = 1.0 / base**exponent  # (head_dim / 4,)
    angles = [positions[:, axis, None].float() * frequency for axis in (0, 1)]  # (patch, head_dim / 4) each
    angle = torch.cat([half_angle for axis_angle in angles for half_angle in (axis_angle, axis_angle)], dim=1)
    sine = angle.sin().unflatten(1, (4, -1))  # (patch, quarter, head_dim / 4)
    signed = torch.stack((-sine[:, 0], sine[:, 1], -sine[:, 2], sine[:, 3]), dim=1)
    return angle.cos(), signed.flatten(1)


def apply_rope(x: Tensor, tables: RopeTables) -> Tensor:
    """Rotate queries or keys (..., patch, head_dim) by the angles of their tables (patch, head_dim)."""
    cos, sin = (table.to(x.dtype) for table in tables)
    a, b, c, d = x.chunk(4, dim=-1)  # pairs (a, b) are rotated by the row, (c, d) by the column
    return torch.addcmul(x * cos, torch.cat((b, a, d, c), dim=-1), sin)


@cached_unless_exporting(maxsize=32)
def cached_grid_tables(
    rows: int, columns: int, head_dim: int, base: float, device: torch.device, unrotated: int = 0
) -> RopeTables:
    """`rope_tables` of a whole grid, cached for the last few grids; the first `unrotated` tokens are not rotated."""
    with torch.inference_mode(False):
        cos, sin = rope_tables(grid_positions(rows, columns, device), head_dim, base)
        still = torch.zeros(unrotated, head_dim, device=device)  # cosine 1, sine 0: no rotation
        return torch.cat((still + 1.0, cos)), torch.cat((still, sin))


def rotations(tables: RopeTables, dtype: torch.dtype) -> Tensor:
    """The rotation of every token as a matrix in a dtype, by which channels (a row vector) are multiplied.

    Returns:
        (patch, head_dim, head_dim).
    """
    patches, channels = tables[0].shape
    units = torch.eye(channels, device=tables[0].device)[:, None].expand(channels, patches, channels)
    return apply_rope(units, tables).transpose(0, 1).to(dtype).contiguous()


def turned(x: Tensor, matrices: Tensor) -> Tensor:
    """Rotate contiguous queries or keys (token, …, head_dim) by the `rotations` of their tokens.

    A batched product reads and writes them once, where `apply_rope` takes five passes. Its sums are fp32.
    """
    return torch.bmm(x.flatten(1, -2), matrices).view_as(x)
