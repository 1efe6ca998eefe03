"""Fresh weights that depend on a seed alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's host generator within the block; afterwards it continues as if untouched.

    Accelerators' generators are not touched: build on the host, then move.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def mixed(*key: int) -> int:
    """A seed for a key of integers: splitmix64's finalizer over its parts, so that near keys give unrelated seeds."""
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = (state ^ part) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state % 2**63
