import numpy as np
import pytest

from codistill.errors import DataError
from codistill.imaging.normals import Colours, colours_of, normals_picture


def normals(seed: int = 0, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*size, 3)) * (1, 1, 0.6) - (0, 0, 1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def encoded(vectors: np.ndarray, dtype: type, signs: tuple[int, ...] = (1, 1, 1)) -> np.ndarray:
    most = np.iinfo(dtype).max
    values = np.rint((vectors * signs + 1) / 2 * most).astype(dtype)
    return np.where((vectors != 0).any(-1)[..., None], values, 0).astype(dtype)


def degrees(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((one.astype(float) * other).sum(-1), -1, 1)))


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 0.4), (np.uint16, 0.03)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_colours_give_back_the_vectors(dtype, limit, signs):
    truth = normals()
    truth[0, :4] = 0.0
    found = Colours(signs)(encoded(truth, dtype, signs))
    assert found.dtype == np.float32 and not found[0, :4].any()
    known = truth.any(-1)
    assert degrees(found, truth)[known].max() < limit
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1)[known], 1.0, atol=1e-5)


def test_grey_has_no_direction_and_other_pictures_are_refused():
    values = encoded(normals(), np.uint8)
    values[3, 3] = 128
    assert not Colours()(values)[3, 3].any()
    photo = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    with pytest.raises(DataError, match="are no unit vectors"):
        Colours()(photo)
    with pytest.raises(DataError, match="are no unit vectors"):
        Colours()(np.zeros_like(photo))


def test_normals_that_point_away_say_what_to_do():
    values = encoded(normals(), np.uint8, (1, -1, -1))
    with pytest.raises(DataError, match=r"point away from the camera.*normals\.json.*towards"):
        Colours()(values)


def test_a_file_says_where_the_channels_point(tmp_path):
    path = tmp_path / "normals.json"
    assert colours_of({"red": "right", "green": "down", "blue": "forward"}, path) == Colours()
    usual = colours_of({"red": "right", "green": "up", "blue": "towards"}, path)
    assert usual == Colours((1, -1, -1))
    for wrong in ({}, {"red": "up", "green": "up", "blue": "towards"}, {"red": "right"}):
        with pytest.raises(DataError, match='"red": right or left, "green": down or up'):
            colours_of(wrong, path)


def test_pictures_have_the_usual_colours_and_can_be_read_again():
    shown = normals_picture(np.array([[[0, 0, -1], [0, -1, 0], [1, 0, 0], [0, 0, 0]]], dtype=np.float32))
    assert shown[0, 0].tolist() == [128, 128, 255]  # faces the camera: blue
    assert shown[0, 1].tolist() == [128, 255, 128]  # a floor: green
    assert shown[0, 2].tolist() == [255, 128, 128]
    assert len(set(shown[0, 3].tolist())) == 1
    truth = normals(2)
    assert degrees(Colours((1, -1, -1))(normals_picture(truth)), truth).max() < 0.5
