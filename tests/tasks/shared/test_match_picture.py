"""Matches coloured by how wrong they are."""

import numpy as np

from codistill.tasks.shared.match_picture import error_colour, error_legend, match_picture


def test_lines_are_green_where_right_and_red_where_wrong() -> None:
    black = np.zeros((40, 40, 3), dtype=np.uint8)
    ends = np.array([[5.0, 10.0], [5.0, 30.0]])
    drawn = match_picture(black, black, ends, ends, height=40, wrong=np.array([0.0, np.inf]))
    assert tuple(drawn[10, 5]) == error_colour(0.0) and tuple(drawn[30, 5]) == error_colour(1.0)
    green, red = error_colour(0.0), error_colour(1.0)
    assert green[1] > 200 > 60 > green[0] and red[0] > 200 > 60 > red[1]
    assert min(error_colour(0.5)[:2]) > 200 and error_colour(7.0) == red and error_colour(-1.0) == green


def test_the_legend_runs_from_right_to_wrong() -> None:
    legend = error_legend(("right", "wrong"), 200)
    assert legend.shape == (38, 200, 3) and (legend[:, :7] == 255).all()
    assert tuple(legend[8, 8]) == error_colour(0.0) and tuple(legend[8, 191]) == error_colour(1.0)
