import numpy as np
import pytest
import torch
from pair_toys import INTRINSICS, look, plane_pair, plane_view

from codistill.errors import ConfigError, DataError
from codistill.geometry.projection import depth_to_pointmap
from codistill.tasks.two_view.pairs import Pair
from codistill.tasks.two_view.views import PairViews, recolour


def _distance_to_plane(depth, intrinsics, pose):
    points = depth_to_pointmap(*(torch.from_numpy(x).double() for x in (depth, intrinsics, pose))).numpy()
    return np.abs(points[..., 2] - 3.0 - 0.2 * points[..., 0])


@pytest.mark.parametrize("size", [(28, 42), (42, 42), (112, 84)])
def test_intrinsics_follow_crops_and_resizes(size):
    """Wherever a view was cut, its depth with its intrinsics and pose still lies on the plane."""
    pair = plane_pair()
    maker = PairViews(size=size, zoom=0.6)
    for view in (maker.plain(pair), maker(pair, np.random.default_rng(5))):
        assert view.images.shape == (2, *size, 3) and view.depths.shape == (2, *size)
        for number in range(2):
            error = _distance_to_plane(view.depths[number], view.intrinsics[number], view.poses[number])
            assert np.median(error) < 0.01 and error.max() < 0.06  # depth is taken from the nearest pixel


def test_crops_are_centred_on_the_principal_point():
    k = INTRINSICS.copy()
    k[0, 2], k[1, 2] = 30.0, 20.0
    view = plane_view(look(0, 0, 0), "off centre", k=k)
    made = PairViews(size=(28, 28)).plain(Pair(view, view, 1.0, "it"))
    np.testing.assert_allclose(made.intrinsics[0][:2, 2], 13.5, atol=0.5)


def test_a_principal_point_outside_the_image_is_refused():
    k = INTRINSICS.copy()
    k[0, 2] = -30.0
    view = plane_view(look(0, 0, 0), "broken", k=k)
    with pytest.raises(DataError, match="broken: its principal point lies outside"):
        PairViews(size=(28, 28)).plain(Pair(view, view, 1.0, "it"))


def test_views_repeat_for_equal_draws_and_differ_otherwise():
    pair, maker = plane_pair(), PairViews(size=(28, 42))
    one, same, other = (maker(pair, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)


def test_recolouring_changes_colours_within_bounds_and_can_be_off():
    image = np.random.default_rng(0).integers(40, 200, (8, 8, 3), dtype=np.uint8)
    assert recolour(image, 0.0, np.random.default_rng(0)) is image
    changed = recolour(image, 0.5, np.random.default_rng(0))
    assert changed.dtype == np.uint8 and changed.shape == image.shape and not np.array_equal(changed, image)


@pytest.mark.parametrize("wrong", [{"zoom": 0.0}, {"zoom": 1.1}, {"jitter": 1.0}, {"size": (0, 4)}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ConfigError, match="0 < zoom <= 1"):
        PairViews(**({"size": (28, 28)} | wrong))
