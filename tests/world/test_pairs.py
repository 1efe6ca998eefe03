import numpy as np
import pytest

from codistill.render.camera import Camera
from codistill.world.pairs import overlap, reproject


def camera(x, size=40):
    pose = np.eye(4)
    pose[0, 3] = x
    k = np.array([[size, 0, size / 2 - 0.5], [0, size, size / 2 - 0.5], [0, 0, 1.0]])
    return Camera(k, pose, size, size)


def test_a_shifted_view_of_a_wall_overlaps_by_what_is_left():
    # A wall 2 m away: moving by 0.5 m shifts it by 40 * 0.5 / 2 = 10 of 40 pixels.
    wall = np.full((40, 40), 2.0)
    assert overlap(wall, camera(0.0), wall, camera(0.5)) == pytest.approx(30 / 40)
    assert overlap(wall, camera(0.0), wall, camera(0.0)) == 1.0
    assert overlap(wall, camera(0.0), wall, camera(2.5)) == 0.0


def test_points_move_by_the_disparity_and_hidden_ones_are_told():
    wall = np.full((40, 40), 2.0)
    covered = wall.copy()
    covered[:, 12:20] = 1.0
    found = reproject(wall, camera(0.0), covered, camera(0.5))
    at = 20 * 40 + 30
    np.testing.assert_allclose(found.pixels[at], [20, 20], atol=1e-6)
    assert found.visible[at]
    hidden = 20 * 40 + 25  # lands on column 15, where view 2 sees something nearer
    assert found.inside[hidden]
    assert not found.visible[hidden]


def test_the_sky_overlaps_with_nothing():
    sky = np.full((40, 40), np.inf)
    assert overlap(sky, camera(0.0), sky, camera(0.0)) == 0.0
