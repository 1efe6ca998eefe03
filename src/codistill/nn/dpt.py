"""The dense prediction transformer head (DPT): four sets of tokens of one grid in, a map at pixel resolution out.

Tokens are projected and resampled to 4, 2, 1 and 1/2 times the grid, projected to one width, and fused from coarse to
fine with residual units. The result, at 8 times the grid, is resized to the patch size times the grid, so that there is
exactly one value per pixel for any patch size. Source: Ranftl et al. (arXiv 2103.13413), with the sizes of MASt3R and
DUSt3R.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from codistill.errors import ConfigError, check_least
from codistill.nn.tracing import is_symbolic


@dataclass(frozen=True, kw_only=True)
class DptConfig:
    """Architecture of a `DptHead`.

    Attributes:
        token_dims: channels of the four sets of tokens, shallow to deep.
        patch_size: output pixels per grid cell.
        out_channels: channels of the map.
        level_dims: channels of the four levels after their projection.
        fusion_dim: width of the fusion path.
        middle_dim, last_dim: widths of the two output convolutions before the last one.
    """

    token_dims: tuple[int, int, int, int]
    patch_size: int
    out_channels: int = 4
    level_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    fusion_dim: int = 256
    middle_dim: int = 128
    last_dim: int = 128

    def __post_init__(self) -> None:
        for name in ("token_dims", "level_dims"):
            dims = getattr(self, name)
            if len(dims) != 4 or min(dims) < 1:
                raise ConfigError(f"{name} must be four positive widths; got {dims}")
        check_least(self, "patch_size", "out_channels", "fusion_dim", "middle_dim", "last_dim")


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu x))), 3x3 convolutions with bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(torch.relu(x))))


class Fusion(nn.Module):
    """One step of the fusion path: add the skip level, refine, double the size.

    Args:
        dim: channels.
        has_skip: whether a finer level is added; the deepest step has none.
    """

    def __init__(self, dim: int, has_skip: bool) -> None:
        super().__init__()
        if has_skip:
            self.skip = ResidualUnit(dim)
        self.unit = ResidualUnit(dim)
        self.out = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (batch, channel, row, column) to twice as many rows and columns."""
        if skip is not None:
            x = x + self.skip(skip)
        # A 1x1 convolution commutes with bilinear interpolation; it is cheaper before it.
        x = self.out(self.unit(x))
        return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class DptHead(nn.Module):
    def __init__(self, config: DptConfig) -> None:
        super().__init__()
        self.config = config
        a, b, _, d = config.level_dims
        resamplers = (
            nn.ConvTranspose2d(a, a, 4, stride=4),  # 4 times the grid
            nn.ConvTranspose2d(b, b, 2, stride=2),  # twice
            None,
            nn.Conv2d(d, d, 3, stride=2, padding=1),  # half
        )
        self.reassemble = nn.ModuleList(
            nn.Sequential(nn.Conv2d(tokens, dim, 1), *([] if resample is None else [resample]))
            for tokens, dim, resample in zip(config.token_dims, config.level_dims, resamplers, strict=True)
        )
        self.reduce = nn.ModuleList(
            nn.Conv2d(dim, config.fusion_dim, 3, padding=1, bias=False) for dim in config.level_dims
        )
        self.fuse = nn.ModuleList(Fusion(config.fusion_dim, has_skip=level < 3) for level in range(4))
        self.before = nn.Conv2d(config.fusion_dim, config.middle_dim, 3, padding=1)
        self.after = nn.Sequential(
            nn.Conv2d(config.middle_dim, config.last_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(config.last_dim, config.out_channels, 1),
        )

    def forward(
        self, tokens: Sequence[Float[Tensor, "batch patch _"]], grid: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """A map of (patch_size * rows) x (patch_size * columns) values.

        Args:
            tokens: four sets (batch, patch, channel) on the same grid, shallow to deep, row-major.
            grid: rows and columns of the patch grid; any sizes, odd ones included.
        """
        maps = [x.transpose(1, 2).unflatten(2, grid) for x in tokens]  # (batch, channel, row, column)
        levels = [
            reduce(reassemble(x))
            for reduce, reassemble, x in zip(self.reduce, self.reassemble, maps, strict=True)
        ]
        # The coarsest level has half the grid, rounded up. Doubled, it may have one row or column too many.
        path = _cut(self.fuse[3](levels[3]), grid)
        for level in (2, 1, 0):  # coarse to fine: 2, 4 and 8 times the grid
            path = self.fuse[level](path, levels[level])
        patch = self.config.patch_size
        size = (patch * grid[0], patch * grid[1])
        path = interpolate(self.before(path), size=size, mode="bilinear", align_corners=True)  # pixels
        return self.after(path)


def _cut(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """The first rows and columns of maps (batch, channel, row, column)."""
    if not is_symbolic(*grid):
        return maps[..., : grid[0], : grid[1]]
    # A slice would depend on whether anything is cut, which differs between odd and even grids; an exported graph must
    # serve both.
    rows, columns = (torch.arange(count, device=maps.device) for count in grid)
    return maps.index_select(2, rows).index_select(3, columns)
