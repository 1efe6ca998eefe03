"""Positional embeddings at other sizes."""

import pytest
import torch

from codistill.nn.position import resize_position_embedding


def test_native_grid_is_untouched() -> None:
    embedding = torch.randn(1, 17, 8)
    assert resize_position_embedding(embedding, (4, 4)) is embedding


@pytest.mark.parametrize("offset", [0.1, None])
def test_constant_stays_constant_and_cls_is_kept(offset: float | None) -> None:
    embedding = torch.full((1, 17, 8), 2.5)
    embedding[:, 0] = torch.arange(8.0)
    out = resize_position_embedding(embedding, (5, 9), offset=offset)
    assert out.shape == (1, 46, 8)
    assert torch.equal(out[:, 0], embedding[:, 0])
    torch.testing.assert_close(out[:, 1:], torch.full((1, 45, 8), 2.5))


def test_rows_and_columns_are_not_swapped() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 4).reshape(1, 16, 1)
    out = resize_position_embedding(rows, (8, 3), num_prefix=0, offset=None).view(8, 3)
    assert (out.std(1) < 1e-5).all()
    assert (out[1:, 0] > out[:-1, 0]).all()


def test_half_precision_is_resized_in_fp32() -> None:
    embedding = torch.randn(1, 17, 8)
    half = resize_position_embedding(embedding.half(), (6, 6))
    assert half.dtype == torch.float16
    torch.testing.assert_close(
        half.float(), resize_position_embedding(embedding.half().float(), (6, 6)), atol=2e-3, rtol=2e-3
    )


def test_not_square() -> None:
    with pytest.raises(ValueError, match="15 patches"):
        resize_position_embedding(torch.zeros(1, 16, 4), (3, 3))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("offset", [0.1, None])
@pytest.mark.parametrize("grid", [(5, 9), (3, 2), (11, 4), (7, 7), (1, 20)])
def test_products_give_what_interpolate_gives(
    grid: tuple[int, int], offset: float | None, antialias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own resizing is the reference; the native grid, which it skips, comes out unchanged."""
    embedding = torch.randn(1, 50, 8)
    wanted = resize_position_embedding(embedding, grid, offset=offset, antialias=antialias)
    monkeypatch.setattr("codistill.nn.position.is_symbolic", lambda *sizes: True)
    found = resize_position_embedding(embedding, grid, offset=offset, antialias=antialias)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)
    if grid == (7, 7):
        assert torch.equal(found, embedding)


def test_one_exported_graph_serves_every_grid() -> None:
    """Sizes stay open although the native one is treated by itself."""

    class Resized(torch.nn.Module):
        def forward(self, embedding: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
            return resize_position_embedding(embedding, (image.shape[0], image.shape[1]))

    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    example = torch.randn(1, 17, 8), torch.zeros(3, 5)
    program = torch.export.export(
        Resized(), example, dynamic_shapes=(None, {0: rows, 1: columns}), strict=False
    )
    for grid in ((4, 4), (3, 5), (9, 2), (4, 8)):
        found = program.module()(example[0], torch.zeros(grid))
        torch.testing.assert_close(found, resize_position_embedding(example[0], grid), atol=2e-5, rtol=0)
