"""Picture grids: sizes, aspect ratios, bytes and floats, what cannot be written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.errors import DataError
from codistill.imaging.pictures import as_picture, below, beside, grid_picture, save_picture


def test_pictures_fit_their_cell_and_keep_their_shape() -> None:
    wide = as_picture(np.zeros((10, 40, 3)), (100, 100))
    assert wide.size == (100, 25)
    tall = as_picture(np.full((400, 100, 3), 200, np.uint8), (100, 100))
    assert tall.size == (25, 100)
    assert np.asarray(tall)[0, 0].tolist() == [200, 200, 200]


def test_small_maps_keep_hard_edges() -> None:
    values = np.zeros((2, 2, 3))
    values[0, 0] = 1.0
    assert set(np.unique(np.asarray(as_picture(values, (50, 50))))) == {0, 255}


def test_grid_holds_every_picture(tmp_path: Path) -> None:
    red, blue = np.zeros((2, 8, 8, 3))
    red[..., 0], blue[..., 2] = 1, 1
    grid = grid_picture([[red, blue], [blue, red]], ["a", "a very long caption " * 5], (40, 40))
    pixels = np.asarray(grid).reshape(-1, 3)
    assert (pixels == [255, 0, 0]).all(1).sum() == 2 * 40 * 40
    assert (pixels == [0, 0, 255]).all(1).sum() == 2 * 40 * 40
    save_picture(grid, tmp_path / "new" / "grid.png")
    assert Image.open(tmp_path / "new" / "grid.png").size == grid.size


def test_columns_are_as_wide_as_their_pictures_or_captions() -> None:
    high = np.zeros((30, 10, 3), np.uint8)
    narrow = grid_picture([[high, high]], ["i", "i"], (60, 200))
    assert narrow.size == (2 * 20 + 3 * 6, 22 + 6 + 60 + 6)
    captioned = grid_picture([[high, high]], ["i", "a caption"], (60, 200))
    assert narrow.width < captioned.width < 2 * 200


def test_a_sheet_without_captions_keeps_pixels_and_short_rows() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    sheet = np.asarray(grid_picture([[picture, picture], [picture]], (), (8, 9)))
    assert sheet.shape == (2 * 8 + 3 * 6, 2 * 9 + 3 * 6, 3)
    np.testing.assert_array_equal(sheet[20:28, 6:15], picture)
    assert (sheet[20:28, 15:] == 255).all()


def test_pictures_put_together_stand_on_white() -> None:
    wide, high = np.zeros((2, 5, 3), np.uint8), np.ones((4, 3, 3), np.uint8)
    sheet = below(wide, high, gap=1)
    assert sheet.shape == (7, 5, 3)
    assert (sheet[:2] == 0).all() and (sheet[3:, :3] == 1).all()
    assert (sheet[2] == 255).all() and (sheet[3:, 3:] == 255).all()
    assert beside(wide, high, gap=1).shape == (4, 9, 3)


def test_errors(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    with pytest.raises(DataError, match="write pictures as"):
        save_picture(picture, tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        save_picture(picture, tmp_path / "file" / "a.png")
