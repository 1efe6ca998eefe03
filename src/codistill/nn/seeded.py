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
