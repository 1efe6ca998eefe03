"""Orders without storage are orders, and look random even for a handful of things."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.data.permutation import keys_of, permute


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**63), st.integers(0, 1000))
def test_every_thing_comes_once(size: int, seed: int, number: int) -> None:
    order = permute(np.arange(size), size, keys_of(seed, number))
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_places_and_neighbours_are_uniform() -> None:
    size, orders = 12, 8000
    keys = keys_of(7, np.arange(orders).repeat(size))
    order = permute(np.tile(np.arange(size), orders), size, keys).reshape(orders, size)
    places = np.stack([np.bincount(order[:, place], minlength=size) for place in range(size)])
    chi2 = ((places - orders / size) ** 2 / (orders / size)).sum()
    assert 60 < chi2 < 200  # 121 degrees of freedom: mean 121, standard deviation 15.6
    steps = np.bincount((np.diff(order, axis=1) % size).ravel(), minlength=size)[1:]
    chi2 = ((steps - orders) ** 2 / orders).sum()
    assert chi2 < 40  # 10 degrees of freedom


def test_millions_need_no_memory_and_keys_matter() -> None:
    size = 20_700_000
    first = permute(np.arange(1000), size, keys_of(0, 0))
    second = permute(np.arange(1000), size, keys_of(0, 1))
    assert len(set(first) | set(second)) > 1990
    assert abs(first.mean() / size - 0.5) < 0.05
    assert permute(np.array([999]), size, keys_of(0, 0))[0] == first[999]


def test_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="size must be"):
        permute(np.arange(1), 0, keys_of(0))
