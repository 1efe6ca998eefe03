import numpy as np
import pytest
import torch

from codistill.render.camera import Camera
from codistill.world.checks import see_through
from codistill.world.dataset import PairSample
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


def before_a_wall(x: float, edge: float, lift: float = 0.0) -> np.ndarray:
    """Depth of a wall 4 m away, and of a board 2 m away right of `edge` (metres), seen by `camera(x)`."""
    column = np.arange(40)
    board = x + 2.0 * (column - 19.5) / 40 > edge
    return np.where(board, 2.0 + lift, 4.0)[None].repeat(40, 0)


def pair_of(edge: float, lift: float = 0.0) -> PairSample:
    cameras = camera(0.0), camera(0.14)
    depths = torch.tensor(np.stack((before_a_wall(0.0, edge), before_a_wall(0.14, edge, lift)))).float()
    return PairSample(
        images=torch.zeros(2, 40, 40, 3, dtype=torch.uint8),
        depths=depths,
        intrinsics=torch.tensor(np.stack([one.intrinsics for one in cameras])).float(),
        poses=torch.tensor(np.stack([one.pose for one in cameras])).float(),
        relative=torch.eye(4),
        overlap=0.5,
        name="board",
    )


@pytest.mark.parametrize("column", np.arange(30.0, 41.0, 0.1))
def test_a_consistent_pair_is_never_seen_through_wherever_an_edge_falls(column):
    # An edge just outside of the second picture is met by points that round to its last column.
    assert see_through(pair_of(0.14 + 2.0 * (column - 19.5) / 40)) == 0.0


def test_a_surface_out_of_place_is_seen_through():
    assert see_through(pair_of(0.3, lift=0.2)) > 0.1


def test_the_sky_overlaps_with_nothing():
    sky = np.full((40, 40), np.inf)
    assert overlap(sky, camera(0.0), sky, camera(0.0)) == 0.0
