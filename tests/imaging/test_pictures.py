"""Picture grids: sizes, aspect ratios, bytes and floats, what cannot be written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.errors import DataError
from codistill.imaging.pictures import as_picture, grid_picture, save_picture


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


def test_errors(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    with pytest.raises(DataError, match="write pictures as"):
        save_picture(picture, tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        save_picture(picture, tmp_path / "file" / "a.png")
