"""DPT: sizes for any patch and grid, the fusion step against its published order, every parameter in use."""

import pytest
import torch
from torch.nn.functional import interpolate

from codistill.errors import ConfigError
from codistill.nn.dpt import DptConfig, DptHead, Fusion

DIMS = {"level_dims": (4, 6, 8, 10), "fusion_dim": 8, "middle_dim": 6, "last_dim": 5}


@pytest.mark.parametrize("patch", [14, 16, 8, 7])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (1, 1), (7, 2)])
def test_one_value_per_pixel(patch: int, grid: tuple[int, int]) -> None:
    head = DptHead(DptConfig(token_dims=(12, 8, 8, 8), patch_size=patch, out_channels=3, **DIMS))  # type: ignore[arg-type]
    tokens = [torch.randn(2, grid[0] * grid[1], dim) for dim in (12, 8, 8, 8)]
    out = head(tokens, grid)
    assert out.shape == (2, 3, patch * grid[0], patch * grid[1])
    assert torch.isfinite(out).all()


def test_fusion_equals_upsampling_before_the_projection() -> None:
    """The published order is residual unit, upsampling, 1x1 convolution."""
    torch.manual_seed(0)
    fusion = Fusion(6, has_skip=True).double()
    x, skip = torch.randn(2, 2, 6, 5, 3, dtype=torch.float64)
    inner = fusion.unit(x + fusion.skip(skip))
    size = (10, 6)
    expected = fusion.out(interpolate(inner, size=size, mode="bilinear", align_corners=True))
    torch.testing.assert_close(fusion(x, skip), expected)


def test_every_parameter_takes_part() -> None:
    head = DptHead(DptConfig(token_dims=(12, 8, 8, 8), patch_size=14, **DIMS))  # type: ignore[arg-type]
    head([torch.randn(1, 15, dim) for dim in (12, 8, 8, 8)], (3, 5)).square().sum().backward()
    idle = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_rows_and_columns_are_not_mixed_up() -> None:
    """Transposing tokens and kernels transposes the map."""
    torch.manual_seed(1)
    head = DptHead(DptConfig(token_dims=(8, 8, 8, 8), patch_size=6, **DIMS)).double()  # type: ignore[arg-type]
    tokens = [torch.randn(1, 12, 8, dtype=torch.float64) for _ in range(4)]
    out = head(tokens, (3, 4))
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.transpose(2, 3).clone())
    turned = [x.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2) for x in tokens]
    torch.testing.assert_close(head(turned, (4, 3)).transpose(2, 3), out)


def test_wrong_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"token_dims must be four positive widths; got \(8, 8\)"):
        DptConfig(token_dims=(8, 8), patch_size=14)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="patch_size must be 1 or more"):
        DptConfig(token_dims=(8, 8, 8, 8), patch_size=0)
