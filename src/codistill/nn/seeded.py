"""Random numbers that depend only on a seed, for initial weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fp32_by_default() -> Iterator[None]:
    """Build modules in fp32 within the block, whatever the caller's default dtype is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's host generator within the block, and restore its state afterwards.

    Within the block the default dtype is fp32, because numbers drawn in another one differ. Generators of accelerators
    are not seeded: build modules on the host, then move them.
    """
    with torch.random.fork_rng(devices=[]), fp32_by_default():
        torch.default_generator.manual_seed(seed)
        yield


def mixed(*key: int) -> int:
    """A seed for a key of integers, by splitmix64's finalizer, so that similar keys give unrelated seeds."""
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = (state ^ part) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state % 2**63
