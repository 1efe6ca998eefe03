"""Pictures of the demo: views of one pass, features of encoders of other widths and patches side by side."""

import numpy as np
import pytest

import codistill
from codistill.demo.pictures import LONGEST, features_beside, reconstruct_pair, see_everything
from codistill.encoders.load import load_encoder

TOY = "random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rows, columns = np.mgrid[:60, :80]
    return np.stack([rows * 3, columns * 3, 255 - rows - columns], axis=-1).astype(np.uint8)


def test_an_encoder_alone_shows_the_image_and_its_features(picture: np.ndarray):
    seen = see_everything(codistill.Perception(TOY, size=56), picture, "a slope")
    assert list(seen.views) == ["image", "features"]
    assert all(view.shape == (LONGEST * 60 // 80, LONGEST, 3) for view in seen.views.values())
    assert list(seen.seconds) == ["encode"]
    assert seen.seconds["encode"] > 0
    assert seen.said == {}


def test_without_a_head_for_pairs_there_are_no_points(picture: np.ndarray):
    assert reconstruct_pair(codistill.Perception(TOY, size=56), picture, picture) is None


def test_features_of_unlike_encoders_are_as_large_as_the_image(picture: np.ndarray):
    square = picture[:60, :60]
    encoders = {
        "one": load_encoder(TOY),
        "other": load_encoder(TOY.replace("dim=48", "dim=32") + ",patch_size=8,seed=3"),
    }
    sheet = features_beside(encoders, [square, square[::-1]], size=60)
    assert sheet.names == ("image", "one", "other")
    assert [[cell.shape for cell in row] for row in sheet.rows] == [[(224, 224, 3)] * 3] * 2
    assert all(cell.dtype == np.uint8 and cell.std() > 0 for row in sheet.rows for cell in row)
    # 60 pixels are 4 patches of 14: sixteen colours at most.
    assert len(np.unique(sheet.rows[0][1].reshape(-1, 3), axis=0)) <= 16
