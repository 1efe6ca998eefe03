"""Held-out pairs are of places that training does not see."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_toys import ToyPairs

from codistill.tasks.relocalization.held_out import split_by_place
from codistill.tasks.relocalization.pairs import FilePairs, PairSubset, ViewFiles


def _pairs(edges, scenes=()):
    views = tuple(tuple(ViewFiles(Path(str(n)), None, np.eye(3), np.eye(4)) for n in edge) for edge in edges)
    return FilePairs(views, (float("nan"),) * len(views), scenes)


@settings(max_examples=50, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=40),
    wanted=st.integers(1, 5),
)
def test_no_image_is_on_both_sides(edges, wanted):
    training, held = split_by_place(_pairs(edges), wanted)
    assert 2 * len(training) >= len(edges) and len(held) <= wanted
    seen, watched = ({n for i in part.indices for n in edges[i]} for part in (training, held))
    assert not seen & watched


def test_scenes_stay_whole_and_one_scene_holds_nothing_out():
    names = ("a",) * 30 + ("b",) * 3 + ("c",) * 4
    data = _pairs([(2 * n, 2 * n + 1) for n in range(37)], names)
    training, held = split_by_place(PairSubset(data, tuple(range(36))), 2)  # three are left of c
    assert held.indices == (33, 35) and {names[i] for i in training.indices} == {"a", "b"}
    assert len(split_by_place(_pairs([(0, n) for n in range(1, 9)]), 2)[1]) == 0


def test_pairs_of_their_own_places_are_held_out_from_the_end():
    training, held = split_by_place(ToyPairs(20), 3)
    assert held.indices == (17, 18, 19) and training.indices == tuple(range(17))
