"""Marks lie where the truth lies, and nowhere else."""

import numpy as np

from codistill.imaging.colours import depth_picture, error_colours, number_colours
from codistill.imaging.legends import depth_legend, error_legend
from codistill.imaging.marks import match_picture, with_points, with_silhouettes, with_skeletons


def test_matches_are_drawn_where_they_are() -> None:
    black = np.zeros((40, 60, 3), dtype=np.uint8)
    one = np.array([[10.0, 20.0]])
    drawn = match_picture(black, black, one, np.array([[30.0, 20.0]]), height=40)
    assert drawn.shape == (40, 128, 3)
    assert drawn[20, 10].any() and drawn[20, 68 + 30].any() and not drawn[20, 2].any()
    empty = match_picture(black, black, np.zeros((0, 2)), np.zeros((0, 2)), height=40)
    assert not empty[:, :60].any()
    green = match_picture(black, black, one, one, height=40, colours=np.array([[0, 255, 0]], np.uint8))
    assert green[20, 10].tolist() == [0, 255, 0]


def test_silhouettes_are_tinted_inside_and_solid_at_their_edge() -> None:
    instances = np.zeros((9, 9), np.uint8)
    instances[2:7, 2:7], instances[8, :] = 1, 2
    shown = with_silhouettes(np.zeros((9, 9, 3), np.uint8), instances, [1])
    colour = number_colours(2)[1]
    edge = np.zeros((9, 9), bool)
    edge[2:7, 2:7] = True
    edge[3:6, 3:6] = False
    np.testing.assert_array_equal(shown[edge], np.broadcast_to(colour, (16, 3)))
    np.testing.assert_array_equal(
        shown[3:6, 3:6].reshape(-1, 3), np.broadcast_to(colour * 0.35, (9, 3)).astype(np.uint8)
    )
    assert not shown[instances != 1].any()


def test_points_and_bones() -> None:
    black = np.zeros((40, 40, 3), dtype=np.uint8)
    points = with_points(black, np.array([[10.0, 30.0], [30.0, 10.0]]))
    np.testing.assert_array_equal(points[[30, 10], [10, 30]], number_colours(2))
    joints = np.array([[[5.0, 5.0], [35.0, 5.0], [35.0, 35.0]]])
    bones = with_skeletons(black, joints, [(0, 1)])
    assert bones[5, 20].all() and not bones[20, 35].any()


def test_colours_of_errors_go_from_green_over_yellow_to_red_and_their_legend_says_so():
    green, yellow, red, worse, better = error_colours(np.array([0.0, 0.5, 1.0, np.inf, -1.0])).tolist()
    assert green[1] > 200 > 100 > green[0] and red[0] > 200 > 100 > red[1] and min(yellow[:2]) > 200
    assert worse == red and better == green
    legend = error_legend(("right", "wrong"), 200)
    assert legend.shape[1] == 200 and legend[8, 8].tolist() == green and legend[8, 191].tolist() == red


def test_the_legend_of_depth_goes_from_near_to_far() -> None:
    legend = depth_legend(400)
    ends = depth_picture(np.array([[1.0, 9.0]]), 1.0, 9.0)[0]
    assert legend.shape[1] == 400
    np.testing.assert_array_equal(legend[6, [8, 391]], ends)
