"""A small two-view head's sizes, and tokens for it."""

import torch

from codistill.heads.two_view.network import TwoViewConfig
from codistill.types import Tokens

CONFIG = TwoViewConfig(
    encoder_dim=24,
    patch_size=14,
    dim=16,
    depth=4,
    num_heads=2,
    level_dims=(4, 6, 8, 10),
    fusion_dim=8,
    middle_dim=6,
    last_dim=6,
    descriptor_dim=5,
    local_hidden=20,
)


def tokens(grid: tuple[int, int], batch: int = 2, seed: int = 0, normed: bool = False) -> Tokens:
    """Random tokens as wide as `CONFIG` wants them; before the encoder's norm, as its head does."""
    generator = torch.Generator().manual_seed(seed)
    return Tokens(
        torch.randn(batch, grid[0] * grid[1], CONFIG.encoder_dim, generator=generator), grid, normed=normed
    )
