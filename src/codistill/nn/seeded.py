"""Fresh weights that depend on a seed alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What PyTorch draws on the host inside follows from `seed`; outside, its generator goes on as if nothing were.

    Accelerators' generators are not touched: build on the host, then move.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
