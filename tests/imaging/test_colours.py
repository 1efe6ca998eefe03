"""Colours of labels and depth: who is grey, what is warm, and what the legends say."""

import colorsys
from itertools import pairwise

import numpy as np

from codistill.imaging.colours import (
    UNKNOWN,
    depth_picture,
    depth_range,
    label_picture,
    number_colours,
    overlay,
)
from codistill.imaging.legends import depth_bar, legend_picture


def test_neighbouring_numbers_differ_and_do_not_depend_on_the_count() -> None:
    colours = number_colours(150)
    np.testing.assert_array_equal(colours[:7], number_colours(7))
    hues = [colorsys.rgb_to_hsv(*(colour / 255))[0] for colour in colours]
    apart = [min(abs(a - b), 1 - abs(a - b)) for a, b in pairwise(hues)]
    assert min(apart) > 0.3
    assert number_colours(0).shape == (0, 3)


def test_what_has_no_class_is_grey() -> None:
    shown = label_picture(np.array([[0, 1, 2, 255]], dtype=np.uint8), 2)
    np.testing.assert_array_equal(shown[0, :2], number_colours(2))
    assert (shown[0, 2:] == UNKNOWN).all()
    assert (label_picture(np.array([[255]], dtype=np.uint8), 256) == UNKNOWN).all()


def test_near_is_warm_far_is_cold_unknown_is_grey() -> None:
    depth = np.array([[1.0, 10.0, 0.0, np.inf, np.nan]], dtype=np.float32)
    near, far, *rest = depth_picture(depth, 1.0, 10.0)[0].astype(int)
    assert near[0] > near[2] and far[2] > far[0]
    assert all(tuple(colour) == UNKNOWN for colour in rest)
    assert depth_range(depth) == (1.09, 9.91)
    assert depth_range(np.zeros((2, 2))) == (1.0, 10.0)
    assert depth_range(np.full((2, 2), 3.0)) == (3.0, 3.0 * 1.01)


def test_overlays_and_legends() -> None:
    image, colours = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert (overlay(image, colours, 0.5) == 100).all()
    names = [f"class {number}" for number in range(30)]
    legend = legend_picture(names, range(30), 300)
    assert legend.shape[1] == 300 and legend.shape[0] > 100
    found = {tuple(colour) for colour in legend.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in number_colours(30).tolist()} <= found
    bar = depth_bar(0.5, 20.0, 200).astype(int)
    assert bar.shape[1] == 200 and bar[8, 10, 0] > bar[8, 10, 2] and bar[8, 189, 2] > bar[8, 189, 0]
