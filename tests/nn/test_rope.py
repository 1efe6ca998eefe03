"""2-D RoPE against published numbers, complex multiplication, and its defining property."""

import pytest
import torch

from codistill.nn.rope import (
    apply_rope,
    cached_grid_tables,
    grid_positions,
    rope_tables,
    rotations,
    turned,
)


def test_published_numbers() -> None:
    # t_j = (j + 1) / 64 at row 3, column 5: numbers of the reference implementation (specs/mast3r.md, 1.2).
    x = ((torch.arange(64) + 1) / 64)[None]
    out = apply_rope(x, rope_tables(torch.tensor([[3, 5]]), 64))[0]
    expected = {
        0: (-0.0529536, -0.2385119, -0.3003080, -0.2792003),
        16: (-0.2607617, -0.1522834, 0.0121313),
        32: (0.8804397, 0.0101103, -0.7755230),
        48: (-0.2772664, -0.9447094),
    }
    for start, values in expected.items():
        torch.testing.assert_close(out[start : start + len(values)], torch.tensor(values), atol=1e-6, rtol=0)
    torch.testing.assert_close(out.norm(), torch.tensor(4.672894), atol=1e-5, rtol=0)


def test_equals_complex_rotation() -> None:
    positions = grid_positions(3, 4)
    x = torch.randn(2, 5, 12, 16, dtype=torch.float64)
    out = apply_rope(x, tuple(t.double() for t in rope_tables(positions, 16)))  # type: ignore[arg-type]
    for axis in (0, 1):
        half = x[..., 8 * axis : 8 * axis + 8]
        pairs = torch.complex(half[..., :4], half[..., 4:])
        angle = positions[:, axis, None].double() / 100 ** (torch.arange(4).double() * 2 / 8)
        turned = pairs * torch.polar(torch.ones_like(angle), angle)
        wanted = torch.cat((turned.real, turned.imag), dim=-1)
        torch.testing.assert_close(out[..., 8 * axis : 8 * axis + 8], wanted, atol=1e-6, rtol=0)


def test_products_depend_on_relative_position_only() -> None:
    query, key = torch.randn(2, 8), torch.randn(2, 8)
    near = rope_tables(torch.tensor([[1, 2], [4, 7]]), 8)
    far = rope_tables(torch.tensor([[11, 22], [14, 27]]), 8)
    products = [
        (apply_rope(query[:1], (t[0][:1], t[1][:1])) * apply_rope(key[:1], (t[0][1:], t[1][1:]))).sum()
        for t in (near, far)
    ]
    torch.testing.assert_close(products[0], products[1], atol=1e-4, rtol=1e-4)


def test_unrotated_prefix_and_bad_width() -> None:
    x = torch.randn(1, 7, 8)
    tables = cached_grid_tables(2, 3, 8, 100.0, torch.device("cpu"), 1)
    assert torch.equal(apply_rope(x, tables)[:, 0], x[:, 0])
    with pytest.raises(ValueError, match="multiple of 4"):
        rope_tables(grid_positions(2, 2), 6)


def test_tables_made_under_inference_mode_can_train() -> None:
    with torch.inference_mode():
        cached_grid_tables(5, 3, 8, 100.0, torch.device("cpu"))
    x = torch.randn(1, 15, 8, requires_grad=True)
    apply_rope(x, cached_grid_tables(5, 3, 8, 100.0, torch.device("cpu"))).sum().backward()
    assert x.grad is not None


def test_a_product_with_the_tokens_rotation_is_the_same() -> None:
    tables = cached_grid_tables(3, 4, 16, 100.0, torch.device("cpu"), unrotated=1)
    x = torch.randn(13, 2, 3, 16)  # (token, batch, head, channel)
    expected = apply_rope(x.permute(1, 2, 0, 3), tables).permute(2, 0, 1, 3)
    found = turned(x, rotations(tables, torch.float32))
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[0], x[0])  # a token without a place is not turned
